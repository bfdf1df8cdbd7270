//! The way over HTTP.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderMap;
use axum::response::Redirect;
use axum::routing::post;
use tokio::net::TcpListener;
use tollway_protocol::Secret;
use tollway_rpc::{Http, Transport as _, Unanswered};

use crate::node::TIMEOUT;

async fn served(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

fn http(url: String) -> Http {
    Http::new(&Secret::new(url), TIMEOUT * 30).unwrap()
}

#[tokio::test]
async fn a_text_is_posted_as_json_and_the_answer_comes_as_it_is() {
    let echo = |headers: HeaderMap, body: Bytes| async move {
        assert_eq!(headers["content-type"], "application/json");
        body
    };
    let address = served(axum::Router::new().route("/key", post(echo))).await;
    let text = b"{\"id\":1}".to_vec();
    assert_eq!(http(format!("http://{address}/key")).ask(text.clone()).await, Ok(text));
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read_to_its_end() {
    let repeat = |body: Bytes| async move { body.repeat(17 * 1024) };
    let router = axum::Router::new().route("/", post(repeat)).layer(DefaultBodyLimit::max(4096));
    let http = http(format!("http://{}", served(router).await));
    let answer = http.ask(vec![b' '; 900]).await;
    assert_eq!(answer.map(|bytes| bytes.len()), Ok(900 * 17 * 1024));
    assert_eq!(http.ask(vec![b' '; 1024]).await, Err(Unanswered("its answer is too long")));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let away = || async { Redirect::temporary("/elsewhere") };
    let elsewhere = || async { "followed" };
    let router = axum::Router::new().route("/", post(away)).route("/elsewhere", post(elsewhere));
    let answer = http(format!("http://{}", served(router).await)).ask(Vec::new()).await;
    assert_eq!(answer, Ok(Vec::new()));
}

#[tokio::test]
async fn neither_error_names_the_url() {
    let told = Http::new(&Secret::new("hunter2".to_owned()), TIMEOUT).err();
    assert_eq!(told, Some("the RPC URL can't be read"));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let answer = http(format!("http://{nobody}/hunter2")).ask(Vec::new()).await;
    assert_eq!(answer, Err(Unanswered("the connection failed")));
}
