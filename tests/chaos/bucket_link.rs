//! A worker's way to the bucket, on which a test may have requests refused, slow, answered with a
//! tag that is not the object's, or carried out without the answer getting through.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use rand::RngExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// No object of a test is larger.
const LARGEST_BYTES: usize = 64 << 20;

/// What becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    Truly,
    /// Most are refused with 503 and not carried out.
    Refusing,
    /// All are carried out; of some the client is told that they failed.
    Losing,
    Slowly,
    /// Some answers have another tag than the object.
    WrongTags,
}

/// One worker's.
pub struct BucketLink {
    port: u16,
    answers: watch::Sender<Answers>,
    serving: JoinHandle<()>,
}

struct Way {
    server: String,
    client: reqwest::Client,
    answers: watch::Receiver<Answers>,
}

impl BucketLink {
    /// One to the server at that address, `http://…`.
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (answers, watched) = watch::channel(Answers::Truly);
        let client = reqwest::Client::new();
        let way = Arc::new(Way { server: server.to_owned(), client, answers: watched });
        let router = Router::new().fallback(forward).with_state(way);
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves until it is dropped");
        });
        Self { port, answers, serving }
    }

    /// `http://…`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on.
    pub fn answers(&self, answers: Answers) {
        self.answers.send_replace(answers);
    }
}

impl Drop for BucketLink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn forward(State(way): State<Arc<Way>>, request: Request<Body>) -> Response<Body> {
    let mode = *way.answers.borrow();
    let (is_hit, delay_millis) = {
        let mut rng = rand::rng();
        (rng.random_bool(0.4), rng.random_range(200..1_500))
    };
    match mode {
        Answers::Refusing if is_hit => return status(StatusCode::SERVICE_UNAVAILABLE),
        Answers::Slowly => tokio::time::sleep(Duration::from_millis(delay_millis)).await,
        _ => {}
    }
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BYTES).await else {
        return status(StatusCode::BAD_REQUEST);
    };
    let asked = way
        .client
        .request(head.method, format!("{}{}", way.server, head.uri))
        // Its signature covers the host that the client knows.
        .headers(head.headers)
        .body(body)
        .send()
        .await;
    let Ok(answer) = asked else { return status(StatusCode::BAD_GATEWAY) };
    if mode == Answers::Losing && is_hit {
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let (code, mut headers) = (answer.status(), answer.headers().clone());
    let Ok(bytes) = answer.bytes().await else { return status(StatusCode::BAD_GATEWAY) };
    if mode == Answers::WrongTags && is_hit && headers.contains_key(header::ETAG) {
        let wrong = HeaderValue::from_static("\"00000000000000000000000000000000\"");
        headers.insert(header::ETAG, wrong);
    }
    headers.remove(header::TRANSFER_ENCODING);
    let mut told = Response::new(Body::from(bytes));
    *told.status_mut() = code;
    *told.headers_mut() = headers;
    told
}

fn status(code: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = code;
    answer
}
