use std::collections::HashMap;

use secrecy::ExposeSecret;

use super::*;

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Settings> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("firmament.toml");
    std::fs::write(&path, file).expect("writable");
    let variables: HashMap<String, String> =
        environment.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let environment = config::Environment::with_prefix("FIRMAMENT")
        .prefix_separator("__")
        .separator("__")
        .source(Some(variables));
    Settings::load_from(Some(&path), environment, None)
}

fn message(result: Result<Settings>) -> String {
    result.expect_err("is wrong").to_string()
}

#[test]
fn the_reference_is_valid_and_complete() {
    let settings = load("", &[]).expect("defaults are valid");
    assert_eq!(settings.publisher.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(settings.device.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.data_dir, Path::new("./firmament-data"));
    assert!(settings.catalogue.is_none() && settings.bucket.is_none() && settings.cdn.is_none());
    // What is commented out is valid as well: the same text with those lines in.
    let all: String = DEFAULTS
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| rest.starts_with('[') || rest.contains(" = "))
                .unwrap_or(line)
        })
        .filter(|line| !line.starts_with("products = [] (the"))
        .map(|line| {
            line.replace("an even number of hex digits", "00fe")
                .replace("at least 16 characters", "0123456789abcdef")
                + "\n"
        })
        .collect();
    load(&all, &[]).expect("the commented keys are keys");
}

#[test]
fn later_layers_win() {
    let file = "data_dir = \"/from-file\"\n[device]\nlisten = \"127.0.0.1:1\"";
    let settings = load(file, &[("FIRMAMENT__DEVICE__LISTEN", "127.0.0.1:2")]).expect("valid");
    assert_eq!(settings.device.listen.port(), 2);
    assert_eq!(settings.data_dir, Path::new("/from-file"));
}

#[test]
fn a_key_that_looks_like_a_number_stays_as_it_is() {
    let settings = load(
        "[cdn]\nbase_url = \"https://fw.example.com\"",
        &[("FIRMAMENT__CDN__TOKEN__KIND", "akamai"), ("FIRMAMENT__CDN__TOKEN__KEY", "0012")],
    )
    .expect("valid");
    let token = settings.cdn.and_then(|cdn| cdn.token).expect("is set");
    assert_eq!(token.key.expose_secret(), "0012");
    assert_eq!((token.name.as_str(), token.lifetime.as_secs()), ("hdnts", 24 * 3600));
}

#[test]
fn an_unknown_key_is_named() {
    for (file, key) in [
        ("[publisher]\nlisen = \"127.0.0.1:1\"", "lisen"),
        ("nonsense = 1", "nonsense"),
        ("[bucket]\nendpoint = \"http://h\"\nbuckt = 1", "buckt"),
    ] {
        let message = message(load(file, &[]));
        assert!(message.contains(key), "{message}");
    }
    let message = message(load("", &[("FIRMAMENT__DEVICE__LISEN", "x")]));
    assert!(message.contains("lisen"), "{message}");
}

#[test]
fn all_problems_are_told_at_once() {
    let message = message(load(
        "[publisher]\nlisten = \"127.0.0.1:8080\"\ntoken = \"short\"\n[catalogue]\nurl = \"mysql://x\"",
        &[],
    ));
    for part in ["both 127.0.0.1:8080", "publisher.token", "catalogue.url"] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[test]
fn one_cp_code_does_not_name_images_and_answers() {
    let file = |codes: &str| {
        format!(
            "[cdn]\nbase_url = \"https://fw.example.com\"\n[cdn.purge]\nkind = \"akamai\"\nby = \"cpcode\"\n\
             cpcodes = [\"11\", \"12\"]\nchecks = \"cpcode\"\ncheck_cpcodes = [{codes}]"
        )
    };
    load(&file("\"13\""), &[]).expect("valid");
    let message = message(load(&file("\"13\", \"12\""), &[]));
    assert!(message.contains("cdn.purge.check_cpcodes: 12 is in cpcodes too"), "{message}");
}

#[test]
fn wrong_kinds_and_broken_files_are_located() {
    let error = message(load("[device]\npoll_interval = \"soon\"", &[]));
    assert!(error.contains("device.poll_interval") && error.contains("5m"), "{error}");
    let error = message(load("[device\n", &[]));
    assert!(error.contains("firmament.toml") && error.contains("line 1"), "{error}");
}

#[test]
fn named_tokens_come_from_file_and_environment() {
    let file =
        "[publisher.tokens.ci]\ntoken = \"0123456789abcdef\"\nscopes = [\"publish\"]\nproducts = [\"a\"]";
    let settings = load(
        file,
        &[
            ("FIRMAMENT__PUBLISHER__TOKENS__OPS__TOKEN", "fedcba9876543210"),
            ("FIRMAMENT__PUBLISHER__TOKENS__OPS__SCOPES", "read,admin"),
        ],
    )
    .expect("valid");
    assert_eq!(settings.publisher.tokens["ops"].scopes, [Scope::Read, Scope::Admin]);
    assert_eq!(settings.publisher.tokens["ci"].products.len(), 1);
}

#[test]
fn secrets_are_not_shown() {
    let file = "[publisher]\ntoken = \"SECRET-0123456789\"\n[catalogue]\nurl = \"postgres://me:SECRET@db/x?password=SECRET\"\n\
        [bucket]\nendpoint = \"http://h\"\nregion = \"r\"\nname = \"n\"\naccess_key_id = \"i\"\nsecret_access_key = \"SECRET\"";
    let settings = load(file, &[]).expect("valid");
    let shown = settings.redacted().expect("is text");
    assert!(!shown.contains("SECRET") && !format!("{settings:?}").contains("SECRET"), "{shown}");
    assert!(shown.contains("postgres://me:[hidden]@db/x"), "{shown}");
    toml::from_str::<toml::Table>(&shown).expect("is TOML");
}

#[test]
fn a_backup_is_a_bucket_or_a_directory() {
    let settings = load("[backup]\ndirectory = \"/b\"\nbandwidth = \"50MiB\"", &[]).expect("valid");
    let backup = settings.backup.expect("is set");
    assert_eq!((backup.bandwidth, backup.transfers), (Some(50 << 20), 16));
    assert_eq!((backup.hold.as_secs(), backup.to_s3().is_none()), (30 * 86400, true));
    let bucket = "endpoint = \"http://h\"\nregion = \"r\"\nname = \"n\"\naccess_key_id = \"i\"\nsecret_access_key = \"s\"\n";
    for (file, word) in [
        ("[backup]\n".to_owned(), "backup.endpoint is missing"),
        (format!("[backup]\ndirectory = \"/b\"\n{bucket}"), "both set"),
        (format!("[bucket]\n{bucket}[backup]\n{bucket}"), "the bucket itself"),
        ("[backup]\ndirectory = \"/b\"\nbandwidth = \"fast\"".to_owned(), "no size"),
        ("[backup]\ndirectory = \"/b\"\nbandwith = 1".to_owned(), "bandwith"),
    ] {
        let message = message(load(&file, &[]));
        assert!(message.contains(word), "{word} in {message}");
    }
    let settings =
        load(&format!("[backup]\n{bucket}"), &[("FIRMAMENT__BACKUP__BANDWIDTH", "1MB")]).expect("valid");
    assert_eq!(settings.backup.expect("is set").bandwidth, Some(1_000_000));
}

#[test]
fn what_a_property_would_not_take_is_said() {
    let cdn =
        "[cdn]\nbase_url = \"https://fw.example.com\"\n[cdn.token]\nkind = \"akamai\"\nkey = \"0x00ff\"\n";
    let settings =
        load(&format!("{cdn}salt = \"0123456789abcdef\"\nnext_key = \"00fe\"\nclock_skew = \"5m\""), &[])
            .expect("valid");
    let token = settings.cdn.as_ref().and_then(|cdn| cdn.token.as_ref()).expect("there");
    assert_eq!(token.signing_key().expect("hex"), [0, 0xff]);
    let shown = settings.redacted().expect("texts");
    assert!(
        !shown.contains("00ff") && !shown.contains("00fe") && !shown.contains("0123456789abcdef"),
        "{shown}"
    );
    assert!(shown.contains("clock_skew = \"5m\"") && shown.contains("sign_with = \"key\""), "{shown}");
    let rotated = load(&format!("{cdn}next_key = \"00fe\"\nsign_with = \"next_key\""), &[]).expect("valid");
    let token = rotated.cdn.and_then(|cdn| cdn.token).expect("there");
    assert_eq!(token.signing_key().expect("hex"), [0, 0xfe]);
    for (line, part) in [
        ("salt = \"short\"", "cdn.token.salt: use exactly 16"),
        ("salt = \"0123456789abcde~\"", "cdn.token.salt"),
        ("next_key = \"00FF\"", "cdn.token.next_key is the same"),
        ("next_key = \"0\"", "cdn.token.next_key: use an even"),
        ("sign_with = \"next_key\"", "cdn.token.next_key is not there"),
        ("clock_skew = \"2h\"", "cdn.token.clock_skew"),
        ("lifetime = \"1s\"", "cdn.token.lifetime"),
        ("name = \"a-b\"", "cdn.token.name"),
    ] {
        let said = message(load(&format!("{cdn}{line}"), &[]));
        assert!(said.contains(part), "{line}: {said}");
    }
    let odd = cdn.replace("example.com", "example.com/a*");
    assert!(message(load(&odd, &[])).contains("cdn.base_url: its path"));
}

#[test]
fn tags_of_purges_are_those_that_akamai_keeps() {
    let purge = |line: &str| {
        format!("[cdn]\nbase_url = \"https://fw.example.com\"\n[cdn.purge]\nkind = \"akamai\"\n{line}")
    };
    load(&purge("object_tag = \"{product}-{version}\"\ncheck_tag = \"c-{product}\""), &[]).expect("valid");
    for (line, part) in [
        ("object_tag = \"r-{product}\"", "object_tag: it has to have {product} and {version}"),
        ("check_tag = \"c {product}\"", "check_tag: use at most 20"),
        ("check_tag = \"c-{product}-{product}-{product}\"", "check_tag: name the product once"),
    ] {
        let said = message(load(&purge(line), &[]));
        assert!(said.contains(part), "{line}: {said}");
    }
}

#[test]
fn keys_of_g2o_are_those_of_a_property() {
    let good = "[device.g2o]\nkeys = { k1 = \"0123456789abcdefghijklmn\" }";
    let settings = load(good, &[]).expect("valid");
    assert!(!settings.device.g2o.as_ref().expect("there").required);
    assert!(!settings.redacted().expect("texts").contains("0123456789abcdefghijklmn"));
    for (keys, part) in [
        ("{}", "device.g2o.keys: use one key"),
        ("{ k1 = \"short\" }", "device.g2o.keys.k1: use exactly 24"),
        ("{ \"k-1\" = \"0123456789abcdefghijklmn\" }", "the nonce \"k-1\""),
    ] {
        let said = message(load(&format!("[device.g2o]\nkeys = {keys}"), &[]));
        assert!(said.contains(part), "{keys}: {said}");
    }
    let required = good.replace("keys", "required = true\nkeys");
    assert!(message(load(&required, &[])).contains("device.g2o.required: "));
    for key in ["public_url", "short_url"] {
        load(&format!("[device]\n{key} = \"https://fw.example.com\"\n{required}"), &[]).expect("valid");
    }
    assert!(message(load("[device]\nshort_url = \"ftp://x\"", &[])).contains("device.short_url"));
    assert!(message(load("[device]\nseal_lifetime = \"1m\"", &[])).contains("device.seal_lifetime"));
}

#[test]
fn what_is_valid_may_still_be_worth_a_warning() {
    let signed = "[device.g2o]\nkeys = { k1 = \"0123456789abcdefghijklmn\" }\n";
    let public = "[device]\npublic_url = \"https://fw.example.com\"\n";
    let purge = "[cdn]\nbase_url = \"https://fw.example.com\"\n[cdn.purge]\nkind = \"akamai\"\n";
    for (file, words) in [
        (String::new(), Vec::new()),
        (purge.to_owned(), Vec::new()),
        (format!("{public}{signed}"), Vec::new()),
        (format!("{public}{signed}{purge}checks = \"tag\""), Vec::new()),
        (format!("{public}{signed}{purge}"), vec!["cdn.purge.checks"]),
        (format!("{signed}{purge}"), vec!["cdn.purge.checks", "device.public_url"]),
    ] {
        let warnings = load(&file, &[]).expect("valid").warnings();
        assert_eq!(warnings.len(), words.len(), "{file}: {warnings:?}");
        for (warning, word) in warnings.iter().zip(words) {
            assert!(warning.starts_with(word), "{warning}");
        }
    }
}

#[test]
fn the_settings_that_are_documented_for_akamai_fit_together() {
    let docs = include_str!("../../docs/akamai.md");
    let (_, from) = docs.split_once("**Settings** of Firmament").expect("a step has them");
    let lines = from.lines().skip_while(|line| !line.starts_with("        ["));
    let block: Vec<&str> = lines.map_while(|line| line.strip_prefix("        ")).collect();
    let file = block
        .join("\n")
        .replace("the token key", "00112233445566778899aabbccddeeff")
        .replace("the G2O key", "0123456789abcdefghijklmn");
    let settings = load(&file, &[]).unwrap_or_else(|error| panic!("{error}: {file}"));
    assert_eq!(settings.warnings(), Vec::<String>::new());
    assert!(settings.device.g2o.is_some_and(|g2o| g2o.required) && settings.device.public_url.is_some());
    let cdn = settings.cdn.expect("set");
    assert_eq!(cdn.purge.expect("set").checks, PurgeChecks::Tag);
    assert!(cdn.logs.and_then(|logs| logs.bucket).is_some(), "logs are beside the images");
}

#[test]
fn logs_are_where_no_image_is() {
    let bucket = "endpoint = \"https://s3.example.com\"\nregion = \"r\"\nname = \"b\"\naccess_key_id = \"a\"\nsecret_access_key = \"s\"\n";
    let cdn = "[cdn]\nbase_url = \"https://fw.example.com\"\n";
    let defaults = load(&format!("[bucket]\n{bucket}{cdn}[cdn.logs]\n"), &[]).expect("valid");
    let logs = defaults.cdn.and_then(|cdn| cdn.logs).expect("set");
    assert_eq!((logs.prefix.as_str(), logs.retention.as_secs()), (".firmament/logs/", 7 * 24 * 3600));
    let elsewhere = format!("{cdn}[cdn.logs]\nprefix = \"\"\n[cdn.logs.bucket]\n{bucket}");
    load(&elsewhere, &[]).expect("a bucket of its own may hold nothing else");
    for (file, word) in [
        (format!("{cdn}[cdn.logs]\n"), "[cdn.logs.bucket]"),
        (format!("[bucket]\n{bucket}{cdn}[cdn.logs]\nprefix = \"logs/\"\n"), ".firmament/"),
        (format!("[bucket]\n{bucket}{cdn}[cdn.logs]\nretention = \"1m\"\n"), "retention"),
        (
            format!("[bucket]\n{bucket}{cdn}[cdn.logs]\nduplicates_within = \"59m\"\n"),
            "duplicates_within: use at least 1h",
        ),
        (format!("[bucket]\n{bucket}{cdn}[cdn.logs]\ninterval = \"0s\"\n"), "interval"),
        (format!("{cdn}[cdn.logs]\nprefix = \"/x\"\n[cdn.logs.bucket]\n{bucket}"), "without a slash"),
    ] {
        let message = message(load(&file, &[]));
        assert!(message.contains(word), "{file}: {message}");
    }
}
