//! The way to the API server, for every request of the operator: how long an answer may take, how
//! long nothing is asked because the API server says so, that a write leaves only while this
//! operator leads, and what is told of troubles, once each.
//!
//! Never asks again by itself: whoever asks decides whether it is still wanted, and how much
//! later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{Method, Request, Response, StatusCode, header};
use kube::client::Body;
use kube::{Client, Config, Error};
use tokio::time::{Instant, sleep_until, timeout};

use super::metrics::OperatorMetrics;
use super::rights::{Missing, Right, advice};
use super::troubles::{Trouble, Troubles};

/// The longest that nothing is asked, whatever the API server says.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// Why a request was not sent or has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// It took too long.
    #[error("the API server did not answer within {0:?}")]
    Silent(Duration),
    /// The lead may be another's by now.
    #[error("nothing is written: another operator may lead by now")]
    NotLeading,
}

/// The API server, as the operator asks it. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    patience: Duration,
    metrics: OperatorMetrics,
    begun: Instant,
    held_until: Mutex<Option<Instant>>,
    /// Until when a write may leave; none while nobody is elected.
    leads_until: Mutex<Option<Instant>>,
    troubles: Mutex<Troubles>,
    missing: Mutex<Missing>,
}

impl ApiServer {
    /// The one that `config` names; an answer may take `patience`.
    ///
    /// # Errors
    /// When the settings do not work.
    pub fn new(
        mut config: Config,
        patience: Duration,
        metrics: OperatorMetrics,
    ) -> Result<Self, Error> {
        // What is asked again is decided by whoever asked, and told.
        config.default_retry = false;
        config.connect_timeout = Some(patience);
        let shared = Shared {
            client: Client::try_from(config)?,
            patience,
            metrics,
            begun: Instant::now(),
            held_until: Mutex::default(),
            leads_until: Mutex::default(),
            troubles: Mutex::default(),
            missing: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A client whose requests go this way.
    pub fn client(&self) -> Client {
        let this = self.clone();
        let service = tower::service_fn(move |request| {
            let this = this.clone();
            async move { this.send(request).await }
        });
        Client::new(service, self.shared.client.default_namespace())
    }

    /// From now on a write leaves only until then.
    pub fn lead_until(&self, until: Instant) {
        *lock(&self.shared.leads_until) = Some(until);
    }

    /// How long an answer may take.
    pub fn patience(&self) -> Duration {
        self.shared.patience
    }

    /// Rights that the operator lacks and that matter in a namespace; with none, all.
    pub fn missing_rights(&self, namespace: Option<&str>) -> Vec<Right> {
        lock(&self.shared.missing).of(namespace)
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let asked = Asked::of(&request);
        if !asked.about_lease {
            self.wait().await;
            if asked.writes && !self.leads() {
                return Err(Error::Service(Unanswered::NotLeading.into()));
            }
        }
        let patience = self.shared.patience;
        let answer = timeout(patience, async {
            let response = self.shared.client.send(request).await?;
            // What a watch tells comes for as long as it is open.
            if asked.watches && response.status().is_success() {
                return Ok(response);
            }
            let (parts, body) = response.into_parts();
            let bytes = body.collect_bytes().await?;
            self.read_refusal(&asked, parts.status, &bytes);
            Ok(Response::from_parts(parts, Body::from(bytes)))
        });
        let answer = answer
            .await
            .unwrap_or_else(|_| Err(Error::Service(Unanswered::Silent(patience).into())));
        self.note(&asked, &answer);
        answer
    }

    /// Until the API server may be asked again.
    async fn wait(&self) {
        loop {
            let until = *lock(&self.shared.held_until);
            match until.filter(|until| *until > Instant::now()) {
                Some(until) => sleep_until(until).await,
                None => return,
            }
        }
    }

    fn leads(&self) -> bool {
        lock(&self.shared.leads_until).is_none_or(|until| Instant::now() < until)
    }

    /// Notes a right that is missing, if that is why it was refused.
    fn read_refusal(&self, asked: &Asked, status: StatusCode, body: &[u8]) {
        if status != StatusCode::FORBIDDEN {
            return;
        }
        let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(right) = said["message"].as_str().and_then(Right::refused) else { return };
        let mut missing = lock(&self.shared.missing);
        if missing.refused(right.clone(), asked.right.clone(), self.shared.begun.elapsed()) {
            tracing::error!("{}", advice([&right]));
        }
        self.count(&missing);
    }

    /// Takes in what the answer says of the API server itself.
    fn note(&self, asked: &Asked, answer: &Result<Response<Body>, Error>) {
        let trouble = match answer {
            Ok(response) => Trouble::of_status(response.status().as_u16()),
            Err(Error::Service(error)) if error.is::<Unanswered>() => Some(Trouble::NoAnswer),
            Err(_) => Some(Trouble::Unreachable),
        };
        if let (Some(_), Ok(response)) = (trouble, answer)
            && let Some(pause) = retry_after(response)
        {
            let until = Instant::now() + pause.min(LONGEST_HOLD);
            let mut held = lock(&self.shared.held_until);
            *held = (*held).max(Some(until));
        }
        let Some(right) = &asked.right else { return };
        let what = format!("{} {}", right.verb, right.resource);
        let now = self.shared.begun.elapsed();
        if let Some(trouble) = trouble {
            self.shared.metrics.api_failed(trouble);
            let why = match answer {
                Ok(response) => response.status().to_string(),
                Err(error) => error.to_string(),
            };
            if lock(&self.shared.troubles).begin(&what, trouble, now) {
                tracing::warn!(
                    trouble = trouble.as_str(),
                    request = what,
                    "the API server is in trouble ({why}): it is asked again, later each time"
                );
            }
            return;
        }
        for (ended, lasted) in lock(&self.shared.troubles).end(&what, now) {
            tracing::info!(
                trouble = ended.as_str(),
                lasted_secs = lasted.as_secs(),
                "the API server answers again"
            );
        }
        // Also what is not there was allowed to be asked for.
        if let Ok(response) = answer
            && !matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        {
            let made = response.status() == StatusCode::CREATED;
            let mut missing = lock(&self.shared.missing);
            for right in missing.granted(right, made) {
                tracing::info!("the operator may {right} now");
            }
            self.count(&missing);
        }
    }

    fn count(&self, missing: &Missing) {
        let count = i64::try_from(missing.of(None).len()).unwrap_or(i64::MAX);
        self.shared.metrics.missing_rights.set(count);
    }
}

/// What a request is about.
struct Asked {
    right: Option<Right>,
    writes: bool,
    watches: bool,
    about_lease: bool,
}

impl Asked {
    fn of(request: &Request<Body>) -> Self {
        let (method, uri) = (request.method(), request.uri());
        let watches = uri.query().is_some_and(|query| query.split('&').any(|p| p == "watch=true"));
        let right = Right::of_request(method.as_str(), uri.path(), watches);
        let about_lease = right.as_ref().is_some_and(|right| right.resource == "leases");
        Self { right, writes: method != Method::GET, watches, about_lease }
    }
}

/// How long the API server asks to wait.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>; it sends seconds only.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
