//! TLS in front of a server that has none.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::certificates::Authority;

/// An open one; it closes when it is dropped.
pub struct Tunnel {
    /// Of 127.0.0.1, where TLS is spoken.
    pub port: u16,
    _open: AbortOnDropHandle<()>,
}

impl Tunnel {
    /// Opens one to `port` of 127.0.0.1, with the authority's certificate.
    pub async fn to(port: u16, authority: &Authority) -> Self {
        let certificate = CertificateDer::from_pem_file(authority.certificate()).unwrap();
        let key = PrivateKeyDer::from_pem_file(authority.key()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().port();
        let open = tokio::spawn(async move {
            while let Ok((stranger, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // Who does not trust the certificate hangs up.
                    let Ok(mut client) = acceptor.accept(stranger).await else { return };
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port: here, _open: AbortOnDropHandle::new(open) }
    }
}
