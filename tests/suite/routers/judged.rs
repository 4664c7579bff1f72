//! What the version check says, over HTTP: policies, dry runs, paths, replacements, signatures, explanations.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::http::StatusCode;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use firmament::api::{ChannelView, ExplainView, ImageView, ProductView, ReleaseView, VerdictView};

use super::{House, json, problem, request, send};

const PRODUCT: &str = "/v1/products/thermo-x";

async fn house(settings: &'static str) -> House {
    let house = House::new().await;
    let response = send(&house.publisher, request("PUT", PRODUCT, settings)).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    house
}

async fn ask(house: &House, method: &str, path: &str, body: &'static str) -> axum::response::Response {
    send(&house.publisher, request(method, &format!("{PRODUCT}{path}"), body)).await
}

fn codes(problem: firmament::api::Problem) -> Vec<String> {
    problem.reasons.into_iter().map(|reason| reason.code.into_owned()).collect()
}

#[tokio::test]
async fn a_policy_is_stored_shown_and_read_strictly() {
    let settings =
        r#"{"policy":{"formats":["esp-app"],"rules":{"name-changed":"refuse"},"maintenance":["1.2"]}}"#;
    let house = house(settings).await;
    let shown: ProductView = json(ask(&house, "GET", "", "").await).await;
    let policy = serde_json::to_value(&shown.settings.policy).expect("plain data");
    assert_eq!((&policy["formats"][0], &policy["maintenance"][0]), (&"esp-app".into(), &"1.2".into()));
    let body = "/releases/1.0.0/images?filename=a.bin";
    assert_eq!(codes(problem(ask(&house, "POST", body, "bytes").await).await), ["format-unexpected"]);
    for (settings, part) in [
        (r#"{"policy":{"fromats":["x"]}}"#, "policy.fromats"),
        (r#"{"policy":{"rules":{"no-such":"warn"}}}"#, "no such rule"),
        (r#"{"policy":{"rules":{"image-empty":"off"}}}"#, "cannot be changed"),
        (r#"{"policy":{"rules":{"same-bytes":"maybe"}}}"#, "unknown variant"),
        (r#"{"policy":{"names":{"colour":["red"]}}}"#, "colour"),
        (r#"{"policy":{"require_signature":true}}"#, "list the keys"),
    ] {
        let problem = problem(ask(&house, "PUT", "", settings).await).await;
        assert!(problem.status == 400 && problem.detail.contains(part), "{settings}: {}", problem.detail);
    }
    let similar = send(&house.publisher, request("PUT", "/v1/products/thermo_x", "{}")).await;
    let view: ProductView = json(similar).await;
    assert_eq!(view.warnings[0].code, "product-similar");
}

#[tokio::test]
async fn a_dry_run_is_a_verdict_and_stores_nothing() {
    let mut house = house(r#"{"max_image_bytes":9}"#).await;
    let path = "/releases/1.0.0/images?filename=app.bin&channel=stable&dry_run=true";
    let verdict: VerdictView = json(ask(&house, "POST", path, "").await).await;
    assert_eq!((verdict.admitted, verdict.status, verdict.judged.as_str()), (true, 201, "declared"));
    let verdict: VerdictView = json(ask(&house, "POST", path, "bytes").await).await;
    assert_eq!((verdict.admitted, verdict.judged.as_str(), verdict.size), (true, "image", 5));
    assert_eq!(verdict.facts.expect("inspected").format, "raw");
    let verdict: VerdictView = json(ask(&house, "POST", path, "more than nine").await).await;
    assert_eq!((verdict.admitted, verdict.status, verdict.judged.as_str()), (false, 413, "declared"));
    assert_eq!(verdict.reasons[0].code, "image-too-large");
    assert_eq!(ask(&house, "GET", "/releases/1.0.0", "").await.status(), StatusCode::NOT_FOUND);
    house.publish("1.0.0", "bytes").await;
    let verdict: VerdictView = json(ask(&house, "POST", path, "other").await).await;
    assert_eq!((verdict.status, verdict.conflict.is_some()), (409, true));
    let pre = "/releases/1.1.0-rc.1/images?filename=app.bin&channel=stable&dry_run=true";
    let verdict: VerdictView = json(ask(&house, "POST", pre, "else").await).await;
    assert_eq!((verdict.admitted, verdict.warnings[0].code.as_ref()), (true, "pre-release-on-channel"));
}

#[tokio::test]
async fn an_image_without_a_version_must_state_one() {
    let house = house("{}").await;
    let refused = problem(ask(&house, "POST", "/images?filename=app.bin", "bytes").await).await;
    assert!(refused.detail.contains("states no version: declare it"), "{}", refused.detail);
    assert_eq!(codes(refused), ["version-not-stated"]);
    assert_eq!(ask(&house, "POST", "/images?filename=.bad", "bytes").await.status(), StatusCode::BAD_REQUEST);
    let elsewhere = request("POST", "/v1/products/other/images?filename=app.bin", "bytes");
    assert_eq!(send(&house.publisher, elsewhere).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn floors_needs_and_replacements_over_http() {
    let mut house = house("{}").await;
    house.publish("1.0.0", "one").await;
    let needs = "/releases/2.0.0/images?filename=app.bin&channel=stable&floor&upgrade_from=";
    let refused = problem(ask(&house, "POST", &format!("{needs}1.5.0"), "two").await).await;
    assert!(refused.detail.contains("no step from 1.0.0 to 1.5.0 or higher"), "{}", refused.detail);
    assert_eq!(codes(refused), ["strands-devices"]);
    assert_eq!(ask(&house, "POST", &format!("{needs}2.0.0"), "two").await.status(), StatusCode::BAD_REQUEST);
    let stored = ask(&house, "POST", &format!("{needs}1.0.0"), "two").await;
    assert_eq!(stored.status(), StatusCode::CREATED);
    let view: ImageView = json(stored).await;
    assert_eq!(view.facts.expect("inspected").format, "raw");
    let release: ReleaseView = json(ask(&house, "GET", "/releases/2.0.0", "").await).await;
    assert_eq!((release.floor, release.upgrade_from.as_deref()), (true, Some("1.0.0")));

    let path = "/releases/2.0.0/path";
    let refused = problem(ask(&house, "PUT", path, r#"{"upgrade_from":"1.9.0"}"#).await).await;
    assert_eq!(codes(refused), ["strands-devices"]);
    let body = r#"{"upgrade_from":"1.9.0","allow_stranding":true,"reason":"those were never sold"}"#;
    let release: ReleaseView = json(ask(&house, "PUT", path, body).await).await;
    assert_eq!((release.floor, release.upgrade_from.as_deref()), (false, Some("1.9.0")));
    assert_eq!(ask(&house, "PUT", "/releases/9.0.0/path", "{}").await.status(), StatusCode::NOT_FOUND);

    let explained: ExplainView = json(ask(&house, "GET", "/explain?version=v1.0.0%2B7", "").await).await;
    assert_eq!((explained.version.as_str(), explained.offered), ("1.0.0", None));
    let codes_of: Vec<&str> =
        explained.considered.iter().map(|considered| considered.code.as_str()).collect();
    assert_eq!(codes_of, ["takes-from", "not-higher"]);
    assert!(explained.considered[0].why.contains("from 1.9.0 on"), "{}", explained.considered[0].why);

    let recall = "/releases/2.0.0/recall";
    let body = r#"{"reason":"boot loop","replacement":"3.0.0"}"#;
    assert_eq!(codes(problem(ask(&house, "POST", recall, body).await).await), ["replacement-unknown"]);
    let body = r#"{"reason":"boot loop","replacement":"1.0.0"}"#;
    let release: ReleaseView = json(ask(&house, "POST", recall, body).await).await;
    assert_eq!(release.replacement.as_deref(), Some("1.0.0"));
    let explained: ExplainView = json(ask(&house, "GET", "/explain?version=2.0.0", "").await).await;
    assert_eq!(explained.offered.as_deref(), Some("1.0.0"));
}

#[tokio::test]
async fn a_detached_signature_is_verified_and_kept() {
    let pair = Ed25519KeyPair::generate().expect("generates");
    let key = hex::encode(pair.public_key());
    let settings =
        format!(r#"{{"policy":{{"require_signature":true,"keys":[{{"name":"ci","key":"{key}"}}]}}}}"#);
    let house = house(settings.leak()).await;
    let signed = |version: &str, bytes: &[u8]| {
        let signature = BASE64_URL_SAFE_NO_PAD.encode(pair.sign(bytes));
        format!("/releases/{version}/images?filename=app.bin&signature={signature}")
    };
    let unsigned = ask(&house, "POST", "/releases/1.0.0/images?filename=app.bin", "bytes").await;
    assert_eq!(codes(problem(unsigned).await), ["signature-missing"]);
    let forged = ask(&house, "POST", &signed("1.0.0", b"other"), "bytes").await;
    assert_eq!(codes(problem(forged).await), ["signature-invalid"]);
    let stored: ImageView = json(ask(&house, "POST", &signed("1.0.0", b"bytes"), "bytes").await).await;
    let kept = base64::prelude::BASE64_STANDARD.decode(stored.signature.expect("kept")).expect("base64");
    assert_eq!(kept, pair.sign(b"bytes").as_ref());
    let malformed = ask(&house, "POST", "/releases/1.1.0/images?filename=app.bin&signature=AAAA", "x").await;
    assert_eq!(malformed.status(), StatusCode::BAD_REQUEST);
    let channel = r#"{"version":"1.0.0"}"#;
    let offered: ChannelView = json(ask(&house, "PUT", "/channels/stable", channel).await).await;
    assert_eq!((offered.offers.len(), offered.warnings.len()), (1, 0));
}
