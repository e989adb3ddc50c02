//! The way to the broker, gone step by step as the client crate goes it, to learn where it ends:
//! the crate itself does not tell. It takes no frame and leaves nothing behind at the broker.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use pulsar::message::{Codec, Message};
use pulsar::proto::command_lookup_topic_response::LookupType;
use pulsar::proto::{
    BaseCommand, CommandConnect, CommandLookupTopic, CommandLookupTopicResponse, ServerError,
    base_command,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::Framed;
use url::Url;

use super::client::authentication;
use super::settings::PulsarSettings;
use super::trouble::{Obstacle, Step, refusal};

/// How long each step may take. A broker that takes longer is not given up for it: it is only
/// said what is waited for.
const STEP: Duration = Duration::from_secs(2);

/// Brokers that are asked where the topic is, one after the other.
const REDIRECTS: usize = 3;

/// Pulsar's protocol as this talks it: what the client crate says of itself.
const PROTOCOL_VERSION: i32 = 12;

/// Where the way ends.
#[derive(Debug)]
pub(super) struct End {
    /// The address of whom it ends at.
    pub at: String,
    /// What is there.
    pub obstacle: Obstacle,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

type Connection = Framed<Box<dyn Wire>, Codec>;

/// Goes to the address that is set, logs in, asks who has the topic, and goes there.
///
/// # Errors
/// Where the way ends.
pub(super) async fn look(settings: &PulsarSettings) -> Result<(), End> {
    let mut at = settings.service_url.clone();
    let mut through = None;
    for _ in 0..REDIRECTS {
        match step(settings, &at, through.as_deref()).await {
            Ok(None) => break,
            Ok(Some(next)) => (at, through) = (next.url, next.through),
            Err(obstacle) => return Err(End { at, obstacle }),
        }
    }
    Ok(())
}

/// Whom a broker sends the worker to.
struct Next {
    url: String,
    /// Of a broker behind a proxy: its own address, which the proxy is told.
    through: Option<String>,
}

/// One broker; tells of the next one, if that is another.
async fn step(
    settings: &PulsarSettings,
    at: &str,
    through: Option<&str>,
) -> Result<Option<Next>, Obstacle> {
    let url = Url::parse(at).map_err(|error| Obstacle::Name(error.to_string()))?;
    let mut connection = greet(settings, &url, through).await?;
    let answer = ask(&mut connection, whose(&settings.topic)).await?.lookup_topic_response;
    let answer = answer.ok_or(Obstacle::HungUp(Step::Greet))?;
    let failed = answer.response.is_none_or(|kind| kind == LookupType::Failed as i32);
    if failed {
        let code = answer.error.and_then(|code| ServerError::try_from(code).ok());
        return Err(refusal(code, answer.message.as_deref()));
    }
    Ok(next(&answer, settings, at).filter(|next| next.url != at || next.through.is_some()))
}

/// Whom the answer names, if it does.
fn next(answer: &CommandLookupTopicResponse, settings: &PulsarSettings, at: &str) -> Option<Next> {
    let url = match at.starts_with("pulsar+ssl:") {
        true => answer.broker_service_url_tls.as_ref(),
        false => answer.broker_service_url.as_ref(),
    };
    let url = url.filter(|url| !url.is_empty())?;
    if !answer.proxy_through_service_url.unwrap_or(false) {
        return Some(Next { url: url.clone(), through: None });
    }
    let broker = Url::parse(url).ok()?;
    let through = format!("{}:{}", broker.host_str()?, broker.port()?);
    Some(Next { url: settings.service_url.clone(), through: Some(through) })
}

/// Connects and logs in.
async fn greet(
    settings: &PulsarSettings,
    url: &Url,
    through: Option<&str>,
) -> Result<Connection, Obstacle> {
    let stream = connect(url).await?;
    let wire: Box<dyn Wire> = match url.scheme() {
        "pulsar+ssl" => Box::new(encrypt(settings, url, stream).await?),
        _ => Box::new(stream),
    };
    let mut connection = Framed::new(wire, Codec);
    let hello = hello(settings, through).await?;
    let answer = ask(&mut connection, hello).await?;
    match (answer.error, answer.connected) {
        (Some(error), _) => {
            Err(refusal(ServerError::try_from(error.error).ok(), Some(&error.message)))
        }
        (None, Some(_)) => Ok(connection),
        (None, None) => Err(Obstacle::HungUp(Step::Greet)),
    }
}

async fn connect(url: &Url) -> Result<TcpStream, Obstacle> {
    let port = match url.scheme() {
        "pulsar+ssl" => 6651,
        _ => 6650,
    };
    let asked = url.clone();
    let looked = tokio::task::spawn_blocking(move || asked.socket_addrs(|| Some(port)));
    let addresses = match timeout(STEP, looked).await {
        Ok(Ok(Ok(addresses))) => addresses,
        Ok(Ok(Err(error))) => return Err(Obstacle::Name(error.to_string())),
        Ok(Err(error)) => return Err(Obstacle::Name(error.to_string())),
        Err(_) => return Err(Obstacle::Name("the name service does not answer".into())),
    };
    match timeout(STEP, TcpStream::connect(&addresses[..])).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Obstacle::Network(error.kind(), error.to_string())),
        Err(_) => Err(Obstacle::Silence(Step::Connect)),
    }
}

async fn encrypt(
    settings: &PulsarSettings,
    url: &Url,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Obstacle> {
    let connector = TlsConnector::from(Arc::new(tls(settings).await?));
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|error| Obstacle::Name(error.to_string()))?;
    match timeout(STEP, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(of_handshake(&error)),
        Err(_) => Err(Obstacle::Silence(Step::Encrypt)),
    }
}

fn of_handshake(error: &io::Error) -> Obstacle {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => Obstacle::Encryption(error.clone()),
        None => Obstacle::HungUp(Step::Encrypt),
    }
}

/// Whom the crate trusts: the public authorities, and those of the file.
async fn tls(settings: &PulsarSettings) -> Result<ClientConfig, Obstacle> {
    let mut trusted = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = &settings.tls.trust_certs_file {
        let unusable = |why: &dyn std::fmt::Display| {
            let path = path.display();
            Obstacle::File(format!(
                "PULSAR_TLS_TRUST_CERTS_FILE cannot be used: {path}: {why}; it has to hold the \
                 certificates of authorities as PEM"
            ))
        };
        let text = tokio::fs::read(path).await.map_err(|error| unusable(&error))?;
        let mut known = 0;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            trusted.add(certificate).map_err(|error| unusable(&error))?;
            known += 1;
        }
        if known == 0 {
            return Err(unusable(&"it holds no certificate"));
        }
    }
    Ok(ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth())
}

async fn hello(settings: &PulsarSettings, through: Option<&str>) -> Result<BaseCommand, Obstacle> {
    let mut connect = CommandConnect {
        client_version: env!("CARGO_PKG_NAME").into(),
        protocol_version: Some(PROTOCOL_VERSION),
        proxy_to_broker_url: through.map(Into::into),
        ..CommandConnect::default()
    };
    if let Some(mut provider) = authentication(&settings.auth) {
        let login = async {
            provider.initialize().await?;
            provider.auth_data().await
        };
        let data = match timeout(STEP, login).await {
            Ok(data) => data.map_err(|error| Obstacle::Login(error.to_string()))?,
            Err(_) => return Err(Obstacle::Login("who gives out tokens does not answer".into())),
        };
        connect.auth_method_name = Some(provider.auth_method_name());
        connect.auth_data = Some(data);
    }
    Ok(BaseCommand {
        r#type: base_command::Type::Connect as i32,
        connect: Some(connect),
        ..BaseCommand::default()
    })
}

fn whose(topic: &str) -> BaseCommand {
    let lookup = CommandLookupTopic { topic: topic.into(), ..CommandLookupTopic::default() };
    BaseCommand {
        r#type: base_command::Type::Lookup as i32,
        lookup_topic: Some(lookup),
        ..BaseCommand::default()
    }
}

async fn ask(connection: &mut Connection, command: BaseCommand) -> Result<BaseCommand, Obstacle> {
    let asked = async {
        connection.send(Message { command, payload: None }).await.ok()?;
        connection.next().await?.ok()
    };
    match timeout(STEP, asked).await {
        Ok(Some(answer)) => Ok(answer.command),
        Ok(None) => Err(Obstacle::HungUp(Step::Greet)),
        Err(_) => Err(Obstacle::Silence(Step::Greet)),
    }
}
