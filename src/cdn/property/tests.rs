use serde_json::json;

use super::*;
use crate::bucket::ObjectKey;

const TOKENS: Expected<'_> = Expected { token: Some("hdnts"), salt: None };
const RULES: &str = include_str!("../../../docs/akamai/rules.json");

fn rules() -> Value {
    serde_json::from_str(RULES).expect("the shipped tree is JSON")
}

/// What is found after a change at a JSON pointer below `/rules`.
fn after(pointer: &str, value: Value) -> Findings {
    let mut document = rules();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = document.pointer_mut(&format!("/rules{parent}")).unwrap_or_else(|| panic!("{parent}"));
    match parent {
        Value::Array(list) => list[key.parse::<usize>().expect("an index")] = value,
        object => object[key] = value,
    }
    check(&document, &TOKENS)
}

#[track_caller]
fn finds(findings: &Findings, word: &str) {
    assert!(findings.problems.iter().any(|problem| problem.contains(word)), "{word} not in {findings:#?}");
}

#[test]
fn the_shipped_tree_is_right_and_every_placeholder_is_listed_in_the_docs() {
    let findings = check(&rules(), &TOKENS);
    assert_eq!(findings.problems, Vec::<String>::new());
    let docs = include_str!("../../../docs/akamai.md");
    assert_eq!(findings.placeholders.len(), 10, "{:?}", findings.placeholders);
    for placeholder in &findings.placeholders {
        assert!(
            docs.contains(&format!("`{placeholder}`")),
            "docs/akamai.md does not say what {placeholder} is"
        );
    }
    // What is used is known, and what is known of these is used by kind alone.
    let known: Known = serde_json::from_str(KNOWN).expect("the list is JSON");
    let mut kinds = BTreeSet::new();
    for kind in known.behaviors.values().chain(known.criteria.values()).flat_map(BTreeMap::values) {
        match kind {
            Value::String(kind) => drop(kinds.insert(kind.clone())),
            Value::Array(allowed) => assert!(!allowed.is_empty()),
            Value::Object(_) => {}
            other => panic!("{other} is no kind"),
        }
    }
    let expected = [
        "boolean",
        "configName",
        "duration",
        "g2oKey",
        "g2oNonce",
        "hex",
        "hexOrNone",
        "integer",
        "salt",
        "string",
        "strings",
    ];
    assert_eq!(kinds, expected.map(str::to_owned).into());
}

#[test]
fn the_tree_agrees_with_the_links_and_objects_that_we_make() {
    let product = crate::domain::ProductName::parse("thermo-x").expect("valid");
    let version = crate::domain::Version::parse("1.4.0").expect("valid");
    let filename = crate::domain::FileName::parse("app.bin").expect("valid");
    let key = ObjectKey::image(&product, &version, &filename);
    // The path that the agreement follows is a link's: the base URL, a slash, the key.
    assert_eq!(agreement::IMAGE, format!("/{key}"));
    // A year, as the default lifetime of the images' rule.
    assert!(key.cache_control().contains(&format!("max-age={}", 365 * 24 * 3600)));
    assert_eq!(rules().pointer("/rules/children/0/behaviors/0/options/defaultTtl"), Some(&json!("365d")));
    assert!(crate::config::DEFAULTS.contains("# name = \"hdnts\""));
    finds(&check(&rules(), &Expected { token: Some("hdnea"), salt: None }), "\"hdnea\"");
}

#[test]
fn a_misspelt_name_is_found_with_what_was_meant() {
    for (pointer, value, words) in [
        ("/behaviors/0/name", json!("orign"), ["behavior \"orign\"", "do you mean \"origin\"?"]),
        ("/behaviors/0/options", json!({ "originTyp": "CUSTOMER" }), ["\"originTyp\"", "\"originType\"?"]),
        ("/children/0/criteria/0/name", json!("paths"), ["criterion \"paths\"", "\"path\"?"]),
        ("/children/0/criteria/0/options", json!({ "value": [] }), ["\"value\"", "\"values\"?"]),
        ("/children/0/behaviours", json!([]), ["no \"behaviours\"", "\"behaviors\"?"]),
        ("/children/0/behaviors/0/option", json!({}), ["\"option\"", "\"options\"?"]),
        ("/behaviors/2/options", json!({ "value": { "cpcode": 7 } }), ["\"cpcode\"", "value"]),
        ("/behaviors/1/name", json!("verifyEverything"), ["verifyEverything", "not known here"]),
    ] {
        let findings = after(pointer, value);
        for word in words {
            finds(&findings, word);
        }
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_found() {
    for (pointer, value, word) in [
        ("/behaviors/2/options/value/id", json!("12345"), "a whole number"),
        ("/behaviors/4/options/enabled", json!("true"), "true or false"),
        ("/behaviors/0/options/originType", json!("LINODE"), "\"AKAMAI_OBJECT_STORAGE\""),
        ("/behaviors/0/options/aosHostname", json!(7), "a text"),
        ("/behaviors/6/options/logStreamName", json!("123"), "a list of texts"),
        ("/children/0/behaviors/0/options/defaultTtl", json!("1 year"), "365d"),
        ("/children/0/behaviors/0/options/defaultTtl", json!(31_536_000), "365d"),
        ("/children/0/children/0/behaviors/0/options/key", json!("secret"), "hex digits"),
        ("/children/0/children/0/behaviors/0/options/key", json!(""), "hex digits"),
        ("/children/0/children/0/behaviors/0/options/salt", json!("short"), "16 characters"),
        ("/children/2/behaviors/1/options/encodingVersion", json!("5"), "one of 1, 2"),
        ("/children/2/behaviors/1/options/secretKey", json!("short"), "24 letters"),
        ("/children/2/behaviors/1/options/nonce", json!("much-too-long"), "1 to 8"),
        ("/children/1/children/0/criteria/0/options/configName", json!("backup"), "capitals"),
        ("/children/0/criteriaMustSatisfy", json!("both"), "\"any\""),
        ("/children/0/behaviors", json!({}), "is a list"),
    ] {
        finds(&after(pointer, value), word);
    }
}

#[test]
fn a_tree_that_does_not_fit_our_links_is_found() {
    for (pointer, value, word) in [
        (
            "/children/0/behaviors/1/options/behavior",
            json!("INCLUDE_ALL_PRESERVE_ORDER"),
            "cache key of images",
        ),
        ("/children/0/behaviors/2/options/parameters", json!(["hdnts"]), "parameters go to the bucket"),
        ("/children/0/behaviors/2/name", json!("removeVary"), "parameters go to the bucket"),
        ("/children/0/behaviors/0/options/behavior", json!("NO_STORE"), "not kept at the edge"),
        ("/children/0/behaviors/5/options/pathComponentOffset", json!("3"), "r-thermo-x-1.4.0"),
        ("/children/0/behaviors/6/options/tag", json!("product-{{user.PMUSER_PRODUCT}}"), "p-thermo-x"),
        ("/children/0/children/0/behaviors/0/options/locationId", json!("__token__"), "\"hdnts\""),
        ("/children/0/children/0/behaviors/0/options/location", json!("COOKIE"), "elsewhere"),
        ("/children/0/children/0/behaviors/0/options/algorithm", json!("MD5"), "SHA256"),
        ("/children/0/children/0/behaviors/0/options/failureResponse", json!(false), "not refused"),
        ("/children/2/behaviors/2/options/behavior", json!("IGNORE_ALL"), "each other's answers"),
        ("/children/2/behaviors/3/options/behavior", json!("MAX_AGE"), "fixed time"),
    ] {
        finds(&after(pointer, value), word);
    }
    let deny = "/children/3/behaviors/0/options/enabled";
    finds(&after(deny, json!(false)), "/ is not denied");
    let values = "/children/3/criteria/0/options/values";
    finds(&after(values, json!(["/"])), "/.firmament/catalogue/thermo-x is not denied");
    finds(&after(values, json!(["/.firmament/*"])), "/ is not denied");
    finds(&after(values, json!(["/*"])), "images are denied");
    finds(&after(values, json!(["/", "/.firmament/*", "/v1/*"])), "/v1/check is denied");
    // A later rule with the same reason takes it back; with another it does not.
    let undone = |reason: &str| {
        let mut document = rules();
        let children = document.pointer_mut("/rules/children").and_then(Value::as_array_mut).expect("a list");
        let allow = json!({ "name": "denyAccess", "options": { "reason": reason, "enabled": false } });
        children.push(json!({ "name": "Allow", "behaviors": [allow] }));
        check(&document, &TOKENS)
    };
    finds(&undone("not-for-devices"), "/ is not denied");
    assert_eq!(undone("another").problems, Vec::<String>::new());
    for rule in ["/children/0", "/children/0/children/0", "/children/2", "/children/3"] {
        let options = format!("{rule}/criteria/0/options");
        for value in [json!(false), Value::Null] {
            let name = rules().pointer(&format!("/rules{rule}/name")).cloned().expect("named");
            finds(&after(&format!("{options}/normalize"), value), &format!("rule {name}: its paths"));
        }
    }
    // Of several, the last one wins.
    let mut document = rules();
    let behaviors = document.pointer_mut("/rules/children/0/behaviors").and_then(Value::as_array_mut);
    let utm = json!({ "name": "removeQueryParameter", "options": { "parameters": ["utm"] } });
    behaviors.expect("a list").push(utm);
    finds(&check(&document, &TOKENS), "parameters go to the bucket");
    // What has nothing to do with the bucket may have its paths as it likes.
    let mut document = rules();
    let children = document.pointer_mut("/rules/children").and_then(Value::as_array_mut).expect("a list");
    let path =
        json!({ "name": "path", "options": { "matchOperator": "MATCHES_ONE_OF", "values": ["/x/*"] } });
    let behavior = json!({ "name": "removeVary", "options": { "enabled": true } });
    children.push(json!({ "name": "Mine", "criteria": [path], "behaviors": [behavior] }));
    assert_eq!(check(&document, &TOKENS).problems, Vec::<String>::new());
    // Everything asks for a token: checks, too.
    let mut document = rules();
    let token = document.pointer("/rules/children/0/children/0").cloned().expect("the rule");
    let children = document.pointer_mut("/rules/children").and_then(Value::as_array_mut).expect("a list");
    children.push(json!({ "name": "Token everywhere", "behaviors": token["behaviors"] }));
    finds(&check(&document, &TOKENS), "/v1/check asks for a token");
    let other = json!({ "ruleFormat": "v2024-01-01", "rules": rules()["rules"] });
    finds(&check(&other, &TOKENS), "ruleFormat");
    finds(&check(&json!([]), &TOKENS), "a rule is an object");
}

#[test]
fn what_other_products_have_instead_is_known() {
    let characteristics = json!({
        "objectSize": "UNKNOWN", "popularityDistribution": "ALL_POPULAR", "catalogSize": "UNKNOWN", "contentType": "SOFTWARE",
    });
    let optimization = json!({
        "enabled": true, "enablePartialObjectCaching": "PARTIAL_OBJECT_CACHING", "minimumSize": "10MB",
        "maximumSize": "16GB", "useVersioning": true,
    });
    let docs = include_str!("../../../docs/akamai.md");
    for (name, options) in
        [("contentCharacteristics", characteristics), ("largeFileOptimization", optimization)]
    {
        let behavior = json!({ "name": name, "options": options });
        assert_eq!(after("/behaviors/3", behavior).problems, Vec::<String>::new());
        assert!(docs.contains(&format!("`{name}`")), "{name} is not in the docs");
    }
    let patch = json!({ "name": "contentCharacteristics", "options": { "contentType": "SOFTWARE_PATCH" } });
    finds(&after("/behaviors/3", patch), "one of");
}

#[test]
fn whether_tokens_are_needed_has_to_agree_with_the_links() {
    let no_token = Expected { token: None, salt: None };
    // The rule is gone; it is there, and nothing is below it; a rule that exempts one product is fine.
    let mut document = rules();
    let children = document.pointer_mut("/rules/children/0/children").and_then(Value::as_array_mut);
    children.expect("a list").remove(0);
    finds(&check(&document, &TOKENS), "images need no token");
    assert_eq!(check(&document, &no_token).problems, Vec::<String>::new());
    finds(&check(&rules(), &no_token), "no link carries one");
    let exceptions = "/children/0/children/0/criteria/0/options/values";
    finds(&after(exceptions, json!(["/*"])), "images need no token");
    assert_eq!(after(exceptions, json!(["/v1/*", "/d/*", "/thermo-x/*"])).problems, Vec::<String>::new());

    let salted = |salt| Expected { salt: Some(salt), ..TOKENS };
    assert_eq!(check(&rules(), &salted("")).problems, Vec::<String>::new());
    finds(&check(&rules(), &salted("0123456789abcdef")), "another salt");
    let document = RULES.replace("\"salt\": \"\"", "\"salt\": \"0123456789abcdef\"");
    let document = serde_json::from_str(&document).expect("JSON");
    assert_eq!(check(&document, &salted("0123456789abcdef")).problems, Vec::<String>::new());
    finds(&check(&document, &salted("")), "another salt");
}

#[test]
fn what_is_replaced_is_no_placeholder_any_more() {
    let text = RULES
        .replace("\"REPLACE:CP_CODE\"", "123456")
        .replace("REPLACE:TOKEN_KEY", "00112233445566778899aabbccddeeff")
        .replace("REPLACE:G2O_KEY", "abcdefghijklmnopqrstuvwx")
        .replace("REPLACE:G2O_NONCE", "k1");
    let findings = check(&serde_json::from_str(&text).expect("JSON"), &TOKENS);
    assert_eq!(findings.problems, Vec::<String>::new());
    assert_eq!(findings.placeholders.len(), 6, "{:?}", findings.placeholders);
    let rest = text.replace("REPLACE:", "some-");
    assert_eq!(check(&serde_json::from_str(&rest).expect("JSON"), &TOKENS), Findings::default());
}
