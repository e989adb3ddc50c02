//! A way to the API server that a test can disturb: plain HTTP on loopback, which hands on what
//! it is asked, answers by itself as it is told to, or not at all.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is done to a request instead of handing it on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is answered with this code, and with how many seconds to wait.
    Status(u16, Option<u64>),
    /// It is handed on and done, and the connection breaks before the answer is through.
    AnswerLost,
    /// Nobody answers, ever.
    Silence,
    /// It is handed on, and its answer kept until the fault is lifted.
    Held,
}

/// What is done to the watches that are open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    None,
    /// The connection breaks.
    Cut,
    /// What they wait for is too old to be told.
    Gone,
    /// Nothing comes any more, as after a router has forgotten the connection.
    Dead,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub method: String,
    pub path: String,
    pub fault: Option<Fault>,
}

impl Seen {
    pub fn is_about_lease(&self) -> bool {
        self.path.contains("/leases/")
    }
}

type Rule = (Box<dyn Fn(&Seen) -> bool + Send>, Fault);

struct Shared {
    server: String,
    client: reqwest::Client,
    rule: Mutex<Option<Rule>>,
    seen: Mutex<Vec<Seen>>,
    /// The number tells two of one kind apart.
    orders: watch::Sender<(u64, Order)>,
    lifted: watch::Sender<u64>,
}

/// The proxy; gone when it is dropped.
pub struct Proxy {
    pub url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Proxy {
    /// In front of the API server at `server`.
    pub async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            client: client.build().expect("a client"),
            rule: Mutex::default(),
            seen: Mutex::default(),
            orders: watch::Sender::new((0, Order::None)),
            lifted: watch::Sender::new(0),
        });
        let app = axum::Router::new().fallback(handle).with_state(Arc::clone(&shared));
        let serving =
            tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { url, shared, serving }
    }

    /// From now on this is done to the requests that `strikes` says.
    pub fn disturb(&self, fault: Fault, strikes: impl Fn(&Seen) -> bool + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Some((Box::new(strikes), fault));
    }

    /// From now on everything is handed on, and so is what was held.
    pub fn heal(&self) {
        *self.shared.rule.lock().unwrap() = None;
        self.shared.lifted.send_modify(|times| *times += 1);
    }

    /// Breaks the connections of the watches that are open.
    pub fn cut_watches(&self) {
        self.order(Order::Cut);
    }

    /// Tells the watches that are open that what they wait for is too old.
    pub fn expire_watches(&self) {
        self.order(Order::Gone);
    }

    /// The watches that are open stay so, and nothing comes any more.
    pub fn deafen_watches(&self) {
        self.order(Order::Dead);
    }

    fn order(&self, order: Order) {
        self.shared.orders.send_modify(|last| *last = (last.0 + 1, order));
    }

    /// The requests that were struck.
    pub fn struck(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.fault.is_some()).collect()
    }

    /// All requests.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Waits until as many requests were struck.
    pub async fn wait_for_struck(&self, many: usize) {
        let begun = Instant::now();
        while self.struck().len() < many {
            assert!(begun.elapsed() < crate::rig::PATIENCE, "{:#?}", self.struck());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let mut seen = Seen {
        at: Instant::now(),
        method: request.method().to_string(),
        path: request.uri().path_and_query().expect("a path").to_string(),
        fault: None,
    };
    if let Some((strikes, fault)) = shared.rule.lock().unwrap().as_ref() {
        seen.fault = strikes(&seen).then_some(*fault);
    }
    let fault = seen.fault;
    shared.seen.lock().unwrap().push(seen);
    let mut lifted = shared.lifted.subscribe();
    match fault {
        Some(Fault::Status(code, retry_after)) => {
            let status = StatusCode::from_u16(code).unwrap();
            let mut response = (status, "on purpose").into_response();
            if let Some(secs) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, secs.into());
            }
            response
        }
        Some(Fault::Silence) => pending().await,
        Some(Fault::AnswerLost) => {
            drop(forward(&shared, request).await);
            Body::from_stream(futures::stream::once(async {
                Err::<Bytes, _>(std::io::Error::other("on purpose"))
            }))
            .into_response()
        }
        Some(Fault::Held) => {
            let response = forward(&shared, request).await;
            let _ = lifted.changed().await;
            response
        }
        None => forward(&shared, request).await,
    }
}

async fn forward(shared: &Shared, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().expect("a path");
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    let mut headers = parts.headers;
    for name in [header::HOST, header::CONTENT_LENGTH, header::ACCEPT_ENCODING] {
        headers.remove(name);
    }
    let watches = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
    let orders = shared.orders.subscribe();
    let url = format!("{}{path}", shared.server);
    let sent = shared.client.request(parts.method, url).headers(headers).body(body).send().await;
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let hop: [HeaderName; 3] =
        [header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::CONNECTION];
    hop.iter().for_each(|name| drop(headers.remove(name)));
    let stream =
        futures::stream::try_unfold((answer, orders), move |(mut answer, mut orders)| async move {
            let order = async {
                match (watches, orders.changed().await) {
                    (true, Ok(())) => orders.borrow_and_update().1,
                    _ => pending().await,
                }
            };
            tokio::select! {
                chunk = answer.chunk() => {
                    let chunk = chunk.map_err(std::io::Error::other)?;
                    Ok(chunk.map(|chunk| (chunk, (answer, orders))))
                }
                order = order => match order {
                    Order::Gone => Ok(Some((Bytes::from_static(EXPIRED), (answer, orders)))),
                    Order::Dead => pending().await,
                    Order::Cut | Order::None => Err(std::io::Error::other("on purpose")),
                },
            }
        });
    let mut response = Body::from_stream(stream).into_response();
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

/// As the API server says it.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#410-gone-responses>
const EXPIRED: &[u8] =
    b"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\
\"metadata\":{},\"status\":\"Failure\",\"message\":\"too old resource version: 1 (2)\",\
\"reason\":\"Expired\",\"code\":410}}\n";
