//! `firmament prune`: removes for good what a product's retention does not keep, and says why the rest stays.

use clap::Args;
use serde_json::json;

use super::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, Report},
    table::{Table, names, plain, size},
};
use crate::{
    api::{ProductList, PruneView},
    domain::{name::ProductName, version::Version},
};

/// The arguments of `prune`.
#[derive(Debug, Args)]
#[command(
    after_help = "What a product keeps is said by its settings: `firmament product set P --keep-newest 20`. Without that \
                  everything is kept. What a channel offers is never removed. There is no way back: the bytes go, also \
                  from the backup after its hold time, and the keys are never used again."
)]
pub struct PruneArguments {
    /// The product; all that the token may see if none is named
    #[arg(long)]
    product: Option<ProductName>,
    /// Remove nothing, only tell what would go
    #[arg(long)]
    dry_run: bool,
    /// A version that devices still run, which is kept; once for each. (Firmament keeps no table of devices.)
    #[arg(long, value_name = "VERSION", value_parser = Version::parse)]
    running: Vec<Version>,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Prunes.
///
/// # Errors
/// When the server refuses or does not answer.
pub fn run(arguments: &PruneArguments) -> Result<Report, Failure> {
    let client = Client::publisher(&arguments.connection)?;
    let products: Vec<String> = match &arguments.product {
        Some(product) => vec![product.to_string()],
        None => {
            let all: ProductList = client.get("/v1/products", &[])?.read()?;
            all.products.into_iter().map(|product| product.product).collect()
        }
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("dry_run", if arguments.dry_run { "true" } else { "false" });
    for version in &arguments.running {
        query.append_pair("running", &version.to_string());
    }
    let query = query.finish();
    let (mut table, mut documents) = (Table::new(&["PRODUCT", "VERSION", "SIZE", "FATE", "WHY"]), Vec::new());
    let (mut going, mut staying, mut releases) = (0, 0, 0);
    for product in products {
        let answer = client.post(&format!("/v1/products/{product}/prune?{query}"), &json!({}))?;
        let view: PruneView = answer.read()?;
        going += view.removed_bytes;
        staying += view.kept_bytes;
        releases += view.removed.len();
        let fate = if view.dry_run { "would go" } else { "removed" };
        for release in &view.removed {
            let why = names(&release.filenames.iter().cloned().collect(), "-");
            table.row(vec![
                plain(&view.product),
                plain(&release.version),
                size(release.bytes),
                fate.to_owned(),
                why,
            ]);
        }
        for release in &view.kept {
            let why: Vec<&str> = release.why.iter().map(|why| why.message.as_str()).collect();
            let why = plain(&why.join("; "));
            let row = vec![
                plain(&view.product),
                plain(&release.version),
                size(release.bytes),
                "kept".to_owned(),
                why,
            ];
            table.row(row);
        }
        documents.push(answer.document);
    }
    let verb = if arguments.dry_run { "would be removed" } else { "removed" };
    let total = format!("{releases} releases, {} {verb}; {} stay", size(going), size(staying));
    let text = if going == 0 && staying == 0 { total } else { format!("{}\n{total}", table.render(0)) };
    Ok(Report::done(text, json!({ "products": documents })))
}
