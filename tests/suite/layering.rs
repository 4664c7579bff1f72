//! Holds the dependency rule: who may know whom. It reads every path in the sources, not only the `use` lines.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use syn::visit::{self, Visit};

/// Crates that only one layer may name.
const DATABASE: [&str; 1] = ["sqlx"];
const STORE: [&str; 6] = [
    "aws_sdk_s3",
    "aws_sigv4",
    "aws_smithy_http_client",
    "aws_smithy_types",
    "aws_smithy_runtime_api",
    "aws_runtime",
];
const WEB: [&str; 7] = ["axum", "axum_server", "hyper", "hyper_util", "tower", "tower_http", "utoipa_axum"];

/// Every path that a file names, as its first two segments: `crate::domain`, `axum::Router`, `tokio`.
#[derive(Default)]
struct Named(BTreeSet<String>);

impl Named {
    fn add(&mut self, segments: &[String]) {
        self.0.insert(segments.iter().take(4).cloned().collect::<Vec<_>>().join("::"));
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.add(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.add(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.add(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
        }
    }
}

impl<'a> Visit<'a> for Named {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&segments);
        visit::visit_path(self, path);
    }

    // Tests of a module may use what they like.
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if !is_for_tests(item) {
            visit::visit_item_mod(self, item);
        }
    }
}

fn sources(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let single = below.with_extension("rs");
    if single.is_file() {
        found.push(single);
    }
    let mut folders = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    // Files that hold nothing but tests.
    let tests: Vec<PathBuf> = found.iter().flat_map(|path| test_modules(path)).collect();
    found.retain(|path| !tests.iter().any(|test| path == test || path.starts_with(test.with_extension(""))));
    found
}

/// The files of the modules that this one declares for tests alone.
fn test_modules(path: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(path).expect("readable");
    let stem = path.file_stem().expect("a file");
    let folder = if stem == "mod" { path.with_file_name("") } else { path.with_extension("") };
    let items = syn::parse_file(&text).expect("is Rust").items;
    let declared = items.into_iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() && is_for_tests(&module) => {
            Some(module.ident.to_string())
        }
        _ => None,
    });
    declared.map(|name| folder.join(name).with_extension("rs")).collect()
}

fn is_for_tests(module: &syn::ItemMod) -> bool {
    module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"))
}

/// What the sources of a module name, with the file.
fn named(module: &str) -> Vec<(PathBuf, BTreeSet<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root.join(module));
    assert!(!files.is_empty(), "there is no module {module}");
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("readable");
            let mut named = Named::default();
            named.visit_file(&syn::parse_file(&text).expect("is Rust"));
            (path, named.0)
        })
        .collect()
}

fn starts(path: &str, prefix: &str) -> bool {
    path == prefix || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("::"))
}

fn forbid(modules: &[&str], forbidden: &[&str]) {
    let mut broken = Vec::new();
    for module in modules {
        for (file, paths) in named(module) {
            for path in paths {
                if forbidden.iter().any(|prefix| starts(&path, prefix)) {
                    broken.push(format!("{} names {path}", file.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "the dependency rule is broken:\n{}", broken.join("\n"));
}

/// Which of the house's modules a module may name.
fn only_house(module: &str, allowed: &[&str]) {
    for (file, paths) in named(module) {
        for path in paths.iter().filter(|path| path.starts_with("crate::")) {
            let fits = allowed.iter().any(|prefix| starts(path, &format!("crate::{prefix}")));
            assert!(fits, "{} names {path}", file.display());
        }
    }
}

#[test]
fn domain_version_check_and_cost_are_pure_and_know_nobody() {
    only_house("domain", &["domain"]);
    only_house("cost", &["cost"]);
    only_house("version_check", &["domain", "version_check"]);
    only_house("error", &["version_check"]);
    let impure = [
        "tokio",
        "tokio_util",
        "std::fs",
        "std::net",
        "std::time::SystemTime",
        "std::time::Instant",
        "tracing",
    ];
    let forbidden: Vec<_> = [&DATABASE[..], &STORE, &WEB, &impure].concat();
    forbid(&["domain", "version_check", "cost"], &forbidden);
}

#[test]
fn transport_never_names_a_database_or_store_client() {
    forbid(&["http", "publishing", "jobs", "cli", "simulate"], &[&DATABASE[..], &STORE].concat());
}

#[test]
fn catalogue_bucket_and_cdn_never_name_the_web_framework() {
    forbid(&["catalogue", "bucket", "cdn", "publishing", "jobs"], &[&WEB[..], &["crate::http"]].concat());
    only_house("catalogue", &["catalogue", "bucket::ObjectKey", "domain", "error"]);
    only_house("bucket", &["bucket", "domain", "error"]);
    only_house("cdn", &["cdn", "bucket", "domain", "error"]);
}

#[test]
fn device_code_cannot_reach_catalogue_writer_or_credentials() {
    let out_of_reach = [
        "crate::catalogue",
        "crate::publishing",
        "crate::app",
        "crate::config",
        "crate::data_dir",
        "crate::http::publisher",
        "crate::http::authentication",
        "crate::bucket::Bucket",
        "crate::bucket::S3Bucket",
        "crate::bucket::DirectoryBucket",
        "crate::bucket::s3",
        "crate::bucket::directory",
        "secrecy",
    ];
    forbid(&["http/device"], &out_of_reach);
}

#[test]
fn a_simulated_fleet_knows_the_server_from_outside_only() {
    only_house("simulate", &["simulate", "api", "domain"]);
    forbid(&["simulate"], &["axum", "tower", "utoipa_axum", "hyper::server", "hyper_util::server"]);
}

#[test]
fn only_the_composition_root_sees_all() {
    let root = ["crate::app", "crate::server"];
    let others = [
        "api",
        "backup",
        "bucket",
        "catalogue",
        "cdn",
        "config",
        "cost",
        "data_dir",
        "domain",
        "error",
        "http",
        "jobs",
        "publishing",
        "recovery",
        "simulate",
        "size",
        "telemetry",
        "version_check",
    ];
    forbid(&others, &root);
}

#[test]
fn the_test_sees_what_it_looks_for() {
    assert!(named("bucket").iter().any(|(_, paths)| paths.iter().any(|path| starts(path, "aws_sdk_s3"))));
    assert!(named("http").iter().any(|(_, paths)| paths.iter().any(|path| starts(path, "axum"))));
    assert!(named("catalogue").iter().any(|(_, paths)| paths.iter().any(|path| starts(path, "sqlx"))));
}
