//! Traces, received by OTLP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post as route_post;
use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

use crate::common::Running;
use crate::world::{World, answer, post};

type Received = Arc<Mutex<Vec<(HeaderMap, Vec<u8>)>>>;

/// A collector that keeps what it is sent.
async fn collector() -> (String, Received) {
    let received = Received::default();
    let kept = received.clone();
    let take = move |headers: HeaderMap, body: Bytes| async move {
        kept.lock().unwrap().push((headers, body.to_vec()));
        [(http::header::CONTENT_TYPE, "application/x-protobuf")]
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/traces", route_post(take));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, received)
}

fn spans(received: &Received) -> HashMap<String, Span> {
    let bodies = received.lock().unwrap();
    let requests = bodies.iter().map(|(_, body)| ExportTraceServiceRequest::decode(body.as_slice()).unwrap());
    let spans = requests.flat_map(|request| request.resource_spans);
    let spans = spans.flat_map(|spans| spans.scope_spans).flat_map(|spans| spans.spans);
    spans.map(|span| (span.name.clone(), span)).collect()
}

#[tokio::test]
async fn fa31_a_settlement_is_a_span_of_its_callers_trace_and_holds_no_secret() {
    let world = World::new().await;
    let (url, received) = collector().await;
    let mut command = world.command("");
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &url).env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=7");
    let running = Running::start(command).await;
    let paid = world.payment(1).await;
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let asked =
        post(&running, "/settle", &paid.request).header("traceparent", format!("00-{trace}-{parent}-01"));
    assert_eq!(answer(asked).await.1["success"], json!(true));
    assert!(running.terminate().await.0.success(), "it sends what is left when it ends");

    let spans = spans(&received);
    let (request, settle) = (&spans["/settle"], &spans["settle"]);
    assert_eq!(hex::encode(&request.trace_id), trace);
    assert_eq!(hex::encode(&request.parent_span_id), parent);
    assert_eq!((&settle.trace_id, &settle.parent_span_id), (&request.trace_id, &request.span_id));
    let names: Vec<&str> = settle.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert!(["network", "scheme", "payment"].iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!(settle.events.len(), 1, "{:?}", settle.events);

    let bodies = received.lock().unwrap();
    assert!(bodies.iter().all(|(headers, _)| headers["x-tenant"] == "7"));
    let text: String = bodies.iter().map(|(_, body)| String::from_utf8_lossy(body).into_owned()).collect();
    assert!(text.contains("tollway-facilitator") && text.contains("eip155:84532"));
    let nonce = paid.key.as_str().rsplit('/').next().unwrap();
    for secret in [&paid.signature[2..], &nonce[2..], "2121212121", "signature"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn fa31_a_collector_that_is_away_changes_nothing() {
    let world = World::new().await;
    let mut command = world.command("");
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let running = Running::start(command).await;
    let paid = world.payment(1).await;
    assert_eq!(answer(post(&running, "/settle", &paid.request)).await.1["success"], json!(true));
    assert!(running.terminate().await.0.success());
}
