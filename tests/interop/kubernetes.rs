//! kube, a client of Kubernetes that needs tokio's runtime, in coroutines of a guest. Of Kubernetes
//! there is as much as the client asks for: a server of hyper's on our sockets.

use std::convert::Infallible;

use asyncoro::{AsyncSocket, interop::Executor, spawn, time::timeout};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::CONTENT_TYPE,
    service::service_fn,
};
use hyper_util::server::conn::auto;
use k8s_openapi::{
    api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta, serde_json,
};
use kube::{
    Api, Client, Config, Error,
    api::{ListParams, PostParams, WatchEvent, WatchParams},
};

use crate::pairs::LIMIT;

/// Where the objects are.
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Returns an object as the server tells it.
fn map(name: &str) -> String {
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some([("name".to_owned(), name.to_owned())].into()),
        ..ConfigMap::default()
    };
    serde_json::to_string(&map).expect("it has names for keys")
}

/// What the server tells of an object that it has not.
const NOBODY: &str = r#"{
    "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
    "message": "nobody is not there", "reason": "NotFound", "code": 404
}"#;

/// The body of an answer: one piece, or one for each event.
type Body =
    Either<Full<Bytes>, StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

async fn answer(request: Request<Incoming>) -> hyper::Result<Response<Body>> {
    let text = |text: String| Either::Left(Full::new(text.into()));
    let (head, body) = request.into_parts();
    let mut status = StatusCode::OK;
    let query = head.uri.query().unwrap_or_default();
    let name = head.uri.path().strip_prefix(MAPS).map(|name| name.trim_start_matches('/'));
    let body = match (head.method, name) {
        (Method::GET, Some("")) if query.contains("watch=true") => {
            let events = stream::iter(0..1000).map(|number| {
                let event =
                    format!("{{\"type\":\"ADDED\",\"object\":{}}}\n", map(&number.to_string()));
                Ok(Frame::data(event.into()))
            });
            Either::Right(StreamBody::new(events.boxed()))
        }
        (Method::GET, Some("")) => text(format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMapList","metadata":{{}},"items":[{},{}]}}"#,
            map("one"),
            map("two")
        )),
        (Method::GET, Some("nobody")) => {
            status = StatusCode::NOT_FOUND;
            text(NOBODY.to_owned())
        }
        (Method::GET, Some(name)) => text(map(name)),
        // As it came.
        (Method::POST, Some("")) => Either::Left(Full::new(body.collect().await?.to_bytes())),
        (method, _) => panic!("{method} {}", head.uri),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("it is a type"));
    Ok(response)
}

#[test]
fn kube_is_a_guest() {
    asyncoro::tokio::run(async {
        let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serving = spawn(async move {
            loop {
                let (client, _) = server.accept().await.unwrap();
                let http = auto::Builder::new(Executor);
                let connection = http.serve_connection(client, service_fn(answer)).into_owned();
                spawn(connection).or_log();
            }
        });
        let asking = async {
            let config = Config::new(format!("http://{address}").parse().unwrap());
            let client = Client::try_from(config).unwrap();
            let maps: Api<ConfigMap> = Api::default_namespaced(client);

            let names: Vec<String> = (0..50).map(|number| format!("map-{number}")).collect();
            let answers = join_all(names.iter().map(|name| maps.get(name))).await;
            for (name, answer) in names.iter().zip(answers) {
                assert_eq!(answer.unwrap().data.unwrap()["name"], *name);
            }

            let listed = maps.list(&ListParams::default()).await.unwrap();
            let names: Vec<_> = listed.items.iter().map(|map| map.metadata.name.clone()).collect();
            assert_eq!(names, [Some("one".to_owned()), Some("two".to_owned())]);

            let Err(Error::Api(status)) = maps.get("nobody").await else { panic!("it is there") };
            assert_eq!((status.code, &*status.message), (404, "nobody is not there"));

            let mut large = listed.items[0].clone();
            large.data.as_mut().unwrap().insert("large".to_owned(), "x".repeat(1 << 20));
            assert_eq!(maps.create(&PostParams::default(), &large).await.unwrap(), large);

            let events = maps.watch(&WatchParams::default(), "0").await.unwrap();
            let events: Vec<_> = events.try_collect().await.unwrap();
            assert_eq!(events.len(), 1000);
            for (number, event) in events.into_iter().enumerate() {
                let WatchEvent::Added(map) = event else { panic!("{event:?}") };
                assert_eq!(map.metadata.name, Some(number.to_string()));
            }
        };
        timeout(LIMIT, asking).await.expect("the test hangs");
        serving.terminate();
    });
}
