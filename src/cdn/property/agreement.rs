//! Whether a rule tree does what Firmament's links need: it is followed for the path of an image and for that of a check, as
//! an edge would follow it, as far as paths decide.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Expected;

/// An image's path, its parts, and a check's path, as Firmament has them.
pub(super) const IMAGE: &str = "/thermo-x/1.4.0/app.bin";
const TAGS: [&str; 2] = ["p-thermo-x", "r-thermo-x-1.4.0"];
const CHECK: &str = "/v1/check";
const SHORT_LINK: &str = "/d/thermo-x/1.4.0/app.bin";
/// An image of a product that nobody made an exception for.
const PRIVATE: &str = "/a-private-product/1.4.0/app.bin";
/// What the edge's signature would open, and devices never ask for: the list of the bucket, and what is beside the images.
const NOT_FOR_DEVICES: [&str; 2] = ["/", "/.firmament/catalogue/thermo-x"];

/// The behaviors that take effect for a path, in their order.
struct Effective<'v>(Vec<(&'v str, &'v Value)>);

impl<'v> Effective<'v> {
    fn of(rules: &'v Value, path: &str) -> Self {
        let mut effective = Self(Vec::new());
        effective.follow(rules, path);
        effective
    }

    fn follow(&mut self, rule: &'v Value, path: &str) {
        if !applies(rule, path) {
            return;
        }
        for behavior in list(rule, "behaviors") {
            let name = behavior.get("name").and_then(Value::as_str).unwrap_or_default();
            self.0.push((name, behavior.get("options").unwrap_or(&Value::Null)));
        }
        for child in list(rule, "children") {
            self.follow(child, path);
        }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'v Value> {
        self.0.iter().filter(move |(behavior, _)| *behavior == name).map(|(_, options)| *options)
    }

    /// The last one wins.
    fn last(&self, name: &str) -> Option<&'v Value> {
        self.all(name).last()
    }

    /// Whether access is denied: behaviors with the same reason override each other.
    fn denied(&self) -> bool {
        let mut reasons = BTreeMap::new();
        for deny in self.all("denyAccess") {
            reasons.insert(text(deny, "reason"), deny.get("enabled") == Some(&Value::Bool(true)));
        }
        reasons.into_values().any(|enabled| enabled)
    }

    /// The tags, with the variables' values for the path.
    fn tags(&self, path: &str) -> Vec<String> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let mut variables = BTreeMap::new();
        for set in self.all("setVariable") {
            let offset: usize = text(set, "pathComponentOffset").parse().unwrap_or(0);
            let value = offset.checked_sub(1).and_then(|index| parts.get(index)).copied().unwrap_or_default();
            variables.insert(format!("{{{{user.{}}}}}", text(set, "variableName")), value);
        }
        let filled = |tag: &Value| {
            let tag = text(tag, "tag").to_owned();
            variables.iter().fold(tag, |tag, (name, value)| tag.replace(name, value))
        };
        self.all("cacheTag").map(filled).collect()
    }
}

fn text<'v>(options: &'v Value, name: &str) -> &'v str {
    options.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn has(options: &Value, name: &str, wanted: &str) -> bool {
    list(options, name).iter().any(|value| value == wanted)
}

/// Whether a rule applies to a path. Criteria other than paths are about failures and clients: they do not hold here.
fn applies(rule: &Value, path: &str) -> bool {
    let criteria = list(rule, "criteria");
    let holds = |criterion: &Value| {
        let options = criterion.get("options").unwrap_or(&Value::Null);
        let one = list(options, "values").iter().filter_map(Value::as_str).any(|value| matches(value, path));
        let wanted = text(options, "matchOperator") == "MATCHES_ONE_OF";
        criterion.get("name").and_then(Value::as_str) == Some("path") && one == wanted
    };
    match rule.get("criteriaMustSatisfy").and_then(Value::as_str) {
        Some("any") => criteria.is_empty() || criteria.iter().any(holds),
        _ => criteria.iter().all(holds),
    }
}

/// What matters only if its rule's paths cannot be written in another way.
const GUARDED: [&str; 4] = ["denyAccess", "verifyTokenAuthorization", "origin", "removeQueryParameter"];

/// Whether a rule, or one below it, does something that matters.
fn guards(rule: &Value) -> bool {
    let named = |behavior: &Value| GUARDED.contains(&text(behavior, "name"));
    list(rule, "behaviors").iter().any(named) || list(rule, "children").iter().any(guards)
}

/// The names of the rules that matter and take a path as it is written, so that `/open/%2e%2e/closed/…` begins with `/open/`.
fn takes_paths_as_written<'v>(rule: &'v Value, found: &mut Vec<&'v str>) {
    let as_written = |criterion: &Value| {
        text(criterion, "name") == "path"
            && criterion.pointer("/options/normalize") != Some(&Value::Bool(true))
    };
    if guards(rule) && list(rule, "criteria").iter().any(as_written) {
        found.push(text(rule, "name"));
    }
    list(rule, "children").iter().for_each(|child| takes_paths_as_written(child, found));
}

/// `*` is any characters, `?` is one.
fn matches(pattern: &str, path: &str) -> bool {
    match (pattern.chars().next(), path.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            matches(&pattern[1..], path)
                || path.chars().next().is_some_and(|first| matches(pattern, &path[first.len_utf8()..]))
        }
        (Some(wanted), Some(found)) if wanted == found || wanted == '?' => {
            matches(&pattern[wanted.len_utf8()..], &path[found.len_utf8()..])
        }
        _ => false,
    }
}

/// Adds what does not agree about tokens.
fn token(rules: &Value, expected: &Expected<'_>, problems: &mut Vec<String>) {
    let mut wrong = |is_wrong: bool, text: String| {
        if is_wrong {
            problems.push(text);
        }
    };
    let image = Effective::of(rules, PRIVATE);
    let (verified, name) = match (image.last("verifyTokenAuthorization"), expected.token) {
        (Some(verified), Some(name)) => (verified, name),
        (None, Some(_)) => {
            return wrong(
                true,
                "images need no token (verifyTokenAuthorization), and links carry one: those of private products would be \
                 open to everybody"
                    .into(),
            );
        }
        (Some(_), None) => {
            return wrong(
                true,
                "images need a token (verifyTokenAuthorization), and no link carries one".into(),
            );
        }
        (None, None) => return,
    };
    wrong(
        text(verified, "location") != "QUERY_STRING" || text(verified, "locationId") != name,
        format!(
            "tokens are looked for elsewhere than in the query parameter {name:?}, where links have them"
        ),
    );
    wrong(
        text(verified, "algorithm") != "SHA256",
        "tokens are not verified with SHA256, as links have them".into(),
    );
    wrong(
        verified.get("failureResponse") != Some(&Value::Bool(true)),
        "a token that does not hold is not refused (failureResponse)".into(),
    );
    wrong(
        expected.salt.is_some_and(|salt| salt != text(verified, "salt")),
        "tokens are verified with another salt than that of links".into(),
    );
    let in_key = image.last("cacheKeyQueryParams").is_none_or(|key| match text(key, "behavior") {
        "IGNORE_ALL" => false,
        "IGNORE" => !has(key, "parameters", name),
        "INCLUDE" => has(key, "parameters", name),
        _ => true,
    });
    wrong(
        in_key,
        format!("the cache key of images has the token ({name:?}) in it: each link is fetched anew"),
    );
}

/// Adds what does not agree.
pub(super) fn check(rules: &Value, expected: &Expected<'_>, problems: &mut Vec<String>) {
    token(rules, expected, problems);
    let mut wrong = |is_wrong: bool, text: String| {
        if is_wrong {
            problems.push(text);
        }
    };
    let image = Effective::of(rules, IMAGE);
    // A store answers a signed request to `response-content-encoding`, `acl` and others in it.
    let removed = image.last("removeQueryParameter").is_some_and(|remove| has(remove, "parameters", "*"));
    wrong(
        !removed,
        "parameters go to the bucket (removeQueryParameter without \"*\"): any client could ask it for another answer, \
         which the edge would keep for all devices"
            .into(),
    );
    let caching = image.last("caching").map(|caching| text(caching, "behavior"));
    wrong(
        !matches!(caching, Some("CACHE_CONTROL" | "CACHE_CONTROL_AND_EXPIRES" | "MAX_AGE")),
        "images are not kept at the edge (caching): they may be for a year, as their Cache-Control says"
            .into(),
    );
    let tags = image.tags(IMAGE);
    for tag in TAGS {
        wrong(
            !tags.iter().any(|found| found == tag),
            format!("{IMAGE} lacks the cache tag {tag}: purges would miss it"),
        );
    }
    let origin = image.last("origin");
    wrong(origin.is_none(), "images have no origin".into());
    wrong(image.denied(), "images are denied (denyAccess)".into());
    for path in NOT_FOR_DEVICES {
        wrong(
            !Effective::of(rules, path).denied(),
            format!(
                "{path} is not denied (denyAccess): the edge's signature would open the bucket's list, manifests and logs"
            ),
        );
    }
    let mut as_written = Vec::new();
    takes_paths_as_written(rules, &mut as_written);
    for rule in as_written {
        wrong(
            true,
            format!(
                "rule {rule:?}: its paths are compared as they are written (normalize): /a/%2e%2e/b/ would be one of /a/*"
            ),
        );
    }

    for path in [CHECK, SHORT_LINK] {
        let listener = Effective::of(rules, path);
        if listener.last("origin") == origin {
            // Whoever does not put the device listener behind the CDN has no rule for it.
            continue;
        }
        wrong(listener.denied(), format!("{path} is denied (denyAccess)"));
        wrong(
            listener.last("verifyTokenAuthorization").is_some(),
            format!("{path} asks for a token, which devices do not have there"),
        );
        let key = listener.last("cacheKeyQueryParams").map(|key| text(key, "behavior"));
        wrong(
            matches!(key, Some("IGNORE_ALL" | "IGNORE" | "INCLUDE")),
            format!(
                "the cache key of {path} lacks parts of the query: devices would get each other's answers"
            ),
        );
        let caching = listener.last("caching").map(|caching| text(caching, "behavior"));
        wrong(
            caching == Some("MAX_AGE"),
            format!(
                "{path} is kept for a fixed time: answers say themselves whether and how long they may be"
            ),
        );
    }
}
