//! The routers in process: no socket, the embedded catalogue and bucket in a temporary directory.

use std::sync::{Arc, atomic::AtomicBool};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
    response::Response,
};
use firmament::{
    api::{CheckAnswer, ImageView, Problem},
    bucket::{Bucket, DirectoryBucket},
    catalogue::{Catalogue, SqliteCatalogue},
    cdn::{Base, Links, ShortLinks},
    http::{
        authentication::Tokens,
        device::{self, DeviceState},
        health::Readiness,
        publisher::{self, PublisherState},
    },
    jobs::{
        Outcomes, Reconciler,
        snapshot::{Current, SnapshotJob},
    },
    publishing::Publishing,
    telemetry::{Answer, Metrics},
    version_check::Limits,
};
use http_body_util::BodyExt;
use tokio::sync::{Notify, Semaphore};
use tower::ServiceExt;

mod judged;

const TOKEN: &str = "token-token-token";

struct House {
    publisher: Router,
    device: Router,
    snapshot: SnapshotJob,
    metrics: Arc<Metrics>,
    _directory: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let catalogue: Arc<dyn Catalogue> =
            Arc::new(SqliteCatalogue::open(&directory.path().join("catalogue.sqlite")).await.expect("opens"));
        let bucket = DirectoryBucket::open(&directory.path().join("bucket")).await.expect("opens");
        let metrics = Arc::new(Metrics::new());
        let current = Arc::new(Current::default());
        let readiness =
            Readiness { current: Arc::clone(&current), draining: Arc::new(AtomicBool::new(false)) };
        let mut snapshot = SnapshotJob {
            catalogue: Arc::clone(&catalogue),
            current: Arc::clone(&current),
            swapped: Arc::new(Notify::new()),
            metrics: Arc::clone(&metrics),
            migrate: true,
            known: None,
            begun: None,
        };
        snapshot.pass().await.expect("migrates and reads");
        let links = Arc::new(Links::Cdn("https://fw.example.com".into()));
        let short = Arc::new(ShortLinks {
            base: Base::named(false, ([127, 0, 0, 1], 8080).into()),
            seal_lifetime: std::time::Duration::from_secs(604_800),
        });
        let device = device::router(Arc::new(DeviceState {
            current,
            links: Arc::clone(&links),
            short: Arc::clone(&short),
            metrics: Arc::clone(&metrics),
            readiness: readiness.clone(),
            pace: device::pace::Pace::new(
                std::time::Duration::from_secs(300),
                std::time::Duration::from_secs(60),
                Arc::default(),
            ),
            check_tag: None,
            reader: Some(Arc::new(bucket.reader())),
            downloads: Arc::new(Semaphore::new(4)),
        }));
        let publishing = Arc::new(Publishing {
            catalogue,
            bucket: Bucket::Directory(bucket),
            holder: uuid::Uuid::now_v7(),
            limits: Limits { max_image_bytes: 1000, ..Limits::default() },
            uploads: Semaphore::new(2),
            gated: false,
            upload_lifetime: std::time::Duration::from_secs(3600),
            changed: Arc::new(Notify::new()),
            metrics: Arc::clone(&metrics),
            abort: Default::default(),
            tasks: Default::default(),
        });
        let publisher = publisher::router(PublisherState {
            publishing,
            tokens: Arc::new(Tokens::new(&TOKEN.to_owned().into(), [])),
            links,
            short,
            device_host: "127.0.0.1:1".into(),
            metrics: Arc::clone(&metrics),
            outcomes: Arc::new(Outcomes::default()),
            readiness,
            backup: None,
        });
        Self { publisher, device, snapshot, metrics, _directory: directory }
    }

    async fn publish(&mut self, version: &str, bytes: &'static str) -> Response {
        let path = format!("/v1/products/thermo-x/releases/{version}/images?filename=app.bin&channel=stable");
        let response = send(&self.publisher, request("POST", &path, bytes)).await;
        self.snapshot.pass().await.expect("reads");
        response
    }

    async fn check(&self, query: &str) -> Response {
        send(&self.device, request("GET", &format!("/v1/check?{query}"), "")).await
    }
}

fn request(method: &str, path: &str, body: &'static str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "fw.local");
    let request = request.header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
    let request = request.header(header::CONTENT_LENGTH, body.len());
    request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).expect("a request")
}

async fn send(router: &Router, request: Request<Body>) -> Response {
    router.clone().oneshot(request).await.expect("a router never fails")
}

async fn json<T: serde::de::DeserializeOwned>(response: Response) -> T {
    let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {bytes:?}"))
}

async fn problem(response: Response) -> Problem {
    let status = response.status();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{status}");
    let problem: Problem = json(response).await;
    assert_eq!(problem.status, status.as_u16());
    assert!(!problem.detail.is_empty() && problem.kind.starts_with("urn:firmament:problem:"));
    problem
}

#[tokio::test]
async fn a_published_image_is_offered() {
    let mut house = House::new().await;
    let created = send(&house.publisher, request("PUT", "/v1/products/thermo-x", "{}")).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let response = house.publish("1.4.0", "bytes").await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let image: ImageView = json(response).await;
    assert_eq!((image.size, image.key.as_str()), (5, "thermo-x/1.4.0/app.bin"));
    let response = house.check("product=thermo-x&version=1.3.0").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert!(!response.headers().contains_key(header::VARY));
    assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=60, stale-if-error=86400");
    let answer: CheckAnswer = json(response).await;
    assert_eq!(answer.url, "https://fw.example.com/thermo-x/1.4.0/app.bin");
    assert_eq!(answer.sha256, image.sha256);
    let response = house.check("product=thermo-x&version=v1.4.0&device=d1").await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "private, no-store");
    assert_eq!((house.metrics.checks(Answer::Update), house.metrics.checks(Answer::UpToDate)), (1, 1));
}

#[tokio::test]
async fn nothing_but_health_metrics_and_openapi_goes_without_a_token() {
    let house = House::new().await;
    let document = serde_json::to_value(publisher::openapi()).expect("is JSON");
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().expect("has paths") {
        for method in operations.as_object().expect("an object").keys() {
            let path = path.replace("{product}", "p").replace("{version}", "1.0.0").replace("{channel}", "c");
            let bare = Request::builder().method(method.to_uppercase().as_str()).uri(&path);
            let bare = bare.header(header::HOST, "fw.local").body(Body::empty()).expect("a request");
            let response = send(&house.publisher, bare).await;
            if ["/livez", "/readyz", "/metrics"].contains(&path.as_str()) {
                assert_eq!(response.status(), StatusCode::OK, "{method} {path}");
            } else {
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
                assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
                // The answer to HEAD has no body.
                if method != "head" {
                    problem(response).await;
                }
            }
            asked += 1;
        }
    }
    assert!(asked >= 12, "{asked} operations");
    let response = send(&house.publisher, request("GET", "/openapi.json", "")).await;
    assert_eq!(json::<serde_json::Value>(response).await, document);
}

#[tokio::test]
async fn the_device_side_has_nothing_of_the_publisher_side() {
    let house = House::new().await;
    let document = serde_json::to_value(publisher::openapi()).expect("is JSON");
    for (path, operations) in document["paths"].as_object().expect("has paths") {
        if ["/livez", "/readyz"].contains(&path.as_str()) {
            continue;
        }
        for method in operations.as_object().expect("an object").keys() {
            let path = path.replace("{product}", "p").replace("{version}", "1.0.0").replace("{channel}", "c");
            let response = send(&house.device, request(&method.to_uppercase(), &path, "{}")).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn what_no_handler_sees_is_a_problem_document_too() {
    let house = House::new().await;
    for router in [&house.publisher, &house.device] {
        let cases = [
            ("GET", "/nothing", StatusCode::NOT_FOUND),
            ("DELETE", "/livez", StatusCode::METHOD_NOT_ALLOWED),
            ("GET", "/v1/../livez", StatusCode::BAD_REQUEST),
        ];
        for (method, path, status) in cases {
            let response = send(router, request(method, path, "")).await;
            assert_eq!(response.status(), status, "{method} {path}");
            problem(response).await;
        }
        let mut two_hosts = request("GET", "/livez", "");
        two_hosts.headers_mut().append(header::HOST, "other.local".parse().expect("a header"));
        assert_eq!(problem(send(router, two_hosts).await).await.kind, "urn:firmament:problem:host-header");
        let mut no_host = request("GET", "/livez", "");
        no_host.headers_mut().remove(header::HOST);
        assert_eq!(send(router, no_host).await.status(), StatusCode::BAD_REQUEST);
    }
    for (body, media_type) in
        [("{", "application/json"), ("{\"x\":1}", "application/json"), ("[]", "application/json")]
    {
        let mut put = request("PUT", "/v1/products/thermo-x", body);
        put.headers_mut().insert(header::CONTENT_TYPE, media_type.parse().expect("a header"));
        let response = send(&house.publisher, put).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
        problem(response).await;
    }
}

#[tokio::test]
async fn refusals_are_told_with_all_reasons() {
    let mut house = House::new().await;
    assert_eq!(problem(house.publish("1.0.0", "bytes").await).await.status, 404);
    send(
        &house.publisher,
        request("PUT", "/v1/products/thermo-x", r#"{"hardware":["a"],"max_image_bytes":9}"#),
    )
    .await;
    assert_eq!(house.publish("2.0.0", "bytes").await.status(), StatusCode::CREATED);
    let path = "/v1/products/thermo-x/releases/1.0.0/images?filename=x.bin&channel=stable&hardware=b";
    let response = send(&house.publisher, request("POST", path, "longer than nine")).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let codes: Vec<_> = problem(response).await.reasons.into_iter().map(|reason| reason.code).collect();
    assert_eq!(codes, ["image-too-large", "hardware-unknown", "version-not-newer"]);
    let same = house.publish("3.0.0", "bytes").await;
    assert_eq!(problem(same).await.reasons[0].code, "same-bytes");
    assert_eq!(problem(house.publish("4.0.0", "").await).await.reasons[0].code, "image-empty");
    assert_eq!(problem(house.publish("4.0.0+7", "x").await).await.reasons[0].code, "version-build-metadata");
    assert_eq!(problem(house.publish("2.0.0", "other").await).await.status, 409);
    assert_eq!(house.publish("2.0.0", "bytes").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_check_is_read_strictly() {
    let mut house = House::new().await;
    send(&house.publisher, request("PUT", "/v1/products/thermo-x", "{}")).await;
    house.publish("1.0.0", "bytes").await;
    for (query, status) in [
        ("", 400),
        ("product=thermo-x", 400),
        ("version=1.0.0", 400),
        ("product=thermo-x&version=1", 400),
        ("product=Thermo&version=1.0.0", 400),
        ("product=thermo-x&product=thermo-x&version=1.0.0", 400),
        ("product=thermo-x&version=1.0.0&hardware=a%20b", 400),
        ("product=other&version=1.0.0", 404),
        ("product=thermo-x&version=1.0.0&channel=beta", 404),
        ("product=thermo-x&version=0.1.0%2B7&hardware=any&channel=stable&unknown=1", 200),
        ("product=thermo-x&version=1.0.0", 204),
    ] {
        let response = house.check(query).await;
        assert_eq!(response.status().as_u16(), status, "{query}");
        if status >= 400 {
            problem(response).await;
        }
    }
}
