//! `firmament product`: creates, lists and shows products.

use chrono::NaiveDate;
use clap::{Args, Subcommand};

use super::{
    client::Client,
    connection::ClientOptions,
    delivery_settings, offers,
    output::{Failure, Report, Terminal},
    product_rhythm,
    product_settings::{self, SettingsArguments},
    table::{Table, exact_size, names, size, time},
};
use crate::{
    api::{ProductBody, ProductDetail, ProductList, ProductView},
    domain::name::{Hardware, ProductName},
};

mod device_secret;

use device_secret::DeviceSecretArguments;

/// The commands of `firmament product`.
#[derive(Debug, Subcommand)]
pub enum ProductCommand {
    /// Create a product
    Create(CreateArguments),
    /// Change some of a product's settings; the others stay
    Set(SetArguments),
    /// List all products
    List(ListArguments),
    /// Show a product and what its channels offer
    Show(ShowArguments),
    /// Make or end the secret that the credentials of a private product's devices are made with
    DeviceSecret(DeviceSecretArguments),
}

/// The arguments of `product create`.
#[derive(Debug, Args)]
pub struct CreateArguments {
    /// Its name in URLs and commands, such as thermo-x
    slug: ProductName,
    /// Hardware that exists, once for each; none = any may be named
    #[arg(long, value_name = "HARDWARE")]
    hardware: Vec<Hardware>,
    /// The largest image that is accepted
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    max_image_bytes: Option<u64>,
    /// Until when you support it, such as 2031-12-31
    #[arg(long, value_name = "DATE")]
    support_end: Option<NaiveDate>,
    /// If it exists with other settings, replace them
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    settings: SettingsArguments,
    #[command(flatten)]
    connection: ClientOptions,
}

/// The arguments of `product set`.
#[derive(Debug, Args)]
pub struct SetArguments {
    /// The product
    slug: ProductName,
    /// Hardware that exists, once for each; replaces the list
    #[arg(long, value_name = "HARDWARE")]
    hardware: Vec<Hardware>,
    /// The largest image that is accepted
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    max_image_bytes: Option<u64>,
    /// Until when you support it, such as 2031-12-31
    #[arg(long, value_name = "DATE")]
    support_end: Option<NaiveDate>,
    #[command(flatten)]
    settings: SettingsArguments,
    #[command(flatten)]
    connection: ClientOptions,
}

/// The arguments of `product list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    connection: ClientOptions,
}

/// The arguments of `product show`.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The product
    slug: ProductName,
    #[command(flatten)]
    connection: ClientOptions,
}

impl ProductCommand {
    /// The options that all of them have.
    pub fn connection(&self) -> &ClientOptions {
        match self {
            Self::Create(arguments) => &arguments.connection,
            Self::Set(arguments) => &arguments.connection,
            Self::List(arguments) => &arguments.connection,
            Self::Show(arguments) => &arguments.connection,
            Self::DeviceSecret(arguments) => &arguments.connection,
        }
    }
}

/// Runs one of them.
///
/// # Errors
/// When the server refuses or does not answer.
pub fn run(command: &ProductCommand, terminal: &Terminal) -> Result<Report, Failure> {
    let client = Client::publisher(command.connection())?;
    match command {
        ProductCommand::Create(arguments) => create(arguments, &client, terminal),
        ProductCommand::Set(arguments) => set(arguments, &client, terminal),
        ProductCommand::List(_) => list(&client),
        ProductCommand::Show(arguments) => show(&arguments.slug, &client, terminal),
        ProductCommand::DeviceSecret(arguments) => device_secret::run(arguments, &client, terminal),
    }
}

fn create(arguments: &CreateArguments, client: &Client, terminal: &Terminal) -> Result<Report, Failure> {
    let slug = &arguments.slug;
    let mut body =
        arguments.settings.apply(ProductBody::default(), &arguments.hardware, arguments.max_image_bytes)?;
    body.support_end = arguments.support_end.or(body.support_end);
    // A PUT replaces all settings: `create` must not reset those of a product that is in use.
    if !arguments.replace
        && let Some(existing) = existing(slug, client)?
        && existing.settings != body
    {
        return Err(Failure::yours(format!(
            "product {slug} exists with other settings: {}. Change some by `firmament product set {slug}`, or give --replace to replace all",
            described(&existing.settings)
        )));
    }
    let answer = client.put(&format!("/v1/products/{slug}"), &body)?;
    let view: ProductView = answer.read()?;
    terminal.warn_all(&view.warnings);
    let verb = if answer.status == 201 { "created" } else { "is there already:" };
    let verb = if arguments.replace && answer.status != 201 { "set" } else { verb };
    let name = terminal.strong(&view.product);
    let text = if verb.ends_with(':') {
        format!("{name} {verb} {}", described(&view.settings))
    } else {
        format!("{verb} {name}: {}", described(&view.settings))
    };
    let next = format!(
        "\nnext: firmament publish FILE --product {slug} --version 1.0.0 --channel stable{}",
        arguments.connection.repeated(client.server().listener)
    );
    Ok(Report::done(text + &next, answer.document))
}

fn set(arguments: &SetArguments, client: &Client, terminal: &Terminal) -> Result<Report, Failure> {
    let slug = &arguments.slug;
    let before = offers::ask(client, slug)?.product.settings;
    let mut body = arguments.settings.apply(before, &arguments.hardware, arguments.max_image_bytes)?;
    body.support_end = arguments.support_end.or(body.support_end);
    let answer = client.put(&format!("/v1/products/{slug}"), &body)?;
    let view: ProductView = answer.read()?;
    terminal.warn_all(&view.warnings);
    let text = format!("set {}: {}", terminal.strong(&view.product), described(&view.settings));
    Ok(Report::done(text, answer.document))
}

fn existing(slug: &ProductName, client: &Client) -> Result<Option<ProductView>, Failure> {
    match offers::ask(client, slug) {
        Ok(detail) => Ok(Some(detail.product)),
        Err(failure) if failure.is_status(404) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn described(settings: &ProductBody) -> String {
    let limit = settings.max_image_bytes.map(|limit| format!(", images of up to {}", exact_size(limit)));
    let demands = product_settings::demands(&settings.policy);
    let delivery = delivery_settings::described(&settings.delivery);
    let mut support = settings.support_end.map(|end| format!(", supported until {end}")).unwrap_or_default();
    if let Some(count) = settings.retention.keep_newest {
        support.push_str(&format!(", keeps the newest {count}"));
    }
    let rhythm = product_rhythm::described(settings);
    let hardware = names(&settings.hardware, "any");
    format!("hardware {hardware}{}{support}{delivery}{demands}{rhythm}", limit.unwrap_or_default())
}

fn list(client: &Client) -> Result<Report, Failure> {
    let answer = client.get("/v1/products", &[])?;
    let list: ProductList = answer.read()?;
    if list.products.is_empty() {
        return Ok(Report::done("no products; create one: firmament product create SLUG", answer.document));
    }
    let mut table = Table::new(&["PRODUCT", "HARDWARE", "LARGEST IMAGE", "CREATED"]);
    for product in list.products {
        table.row(vec![
            product.product,
            names(&product.settings.hardware, "any"),
            product.settings.max_image_bytes.map_or_else(|| "-".to_owned(), size),
            time(product.created_at),
        ]);
    }
    Ok(Report::done(table.render(0), answer.document))
}

fn show(slug: &ProductName, client: &Client, terminal: &Terminal) -> Result<Report, Failure> {
    let answer = client.get(&format!("/v1/products/{slug}"), &[])?;
    let detail: ProductDetail = answer.read()?;
    let name = terminal.strong(&detail.product.product);
    let mut text = format!("{name}: {}", described(&detail.product.settings));
    let channels = offers::of_product(&detail, terminal, |_| true);
    text.push_str(if channels.is_empty() { "\nno channel offers anything" } else { "\n" });
    Ok(Report::done(text + &channels, answer.document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn, problem, product_detail};

    fn create_arguments(server: &Replay, replace: bool) -> ProductCommand {
        ProductCommand::Create(CreateArguments {
            slug: ProductName::parse("p").expect("a name"),
            hardware: vec![Hardware::parse("rev-a").expect("a name")],
            max_image_bytes: Some(2048),
            support_end: None,
            replace,
            settings: SettingsArguments::default(),
            connection: server.options(),
        })
    }

    const VIEW: &str = r#"{"product":"p","hardware":["rev-a"],"max_image_bytes":2048,
        "created_at":"2026-01-02T03:04:05Z","revision":1}"#;

    #[test]
    fn a_new_product_is_put() {
        let server = Replay::start(vec![problem(404, "unknown product", &[]), Turn::json(201, VIEW)]);
        let report = run(&create_arguments(&server, false), &Terminal::default()).expect("201");
        assert!(
            report.text.starts_with("created p: hardware rev-a, images of up to 2.0 KiB (2048 bytes)\nnext:")
        );
        let put = &server.requests()[1];
        assert_eq!(put.line, "PUT /v1/products/p HTTP/1.1");
        let body: serde_json::Value = serde_json::from_slice(&put.body).expect("JSON");
        assert_eq!(body, serde_json::json!({"hardware": ["rev-a"], "max_image_bytes": 2048}));
    }

    #[test]
    fn create_does_not_reset_a_product_that_is_there() {
        let server = Replay::start(vec![Turn::json(200, &product_detail("p", "[]"))]);
        let failure =
            run(&create_arguments(&server, false), &Terminal::default()).expect_err("other settings");
        assert!(failure.message.contains("--replace"), "{}", failure.message);
        assert_eq!(server.requests().len(), 1);

        let server = Replay::start(vec![Turn::json(200, VIEW)]);
        let report = run(&create_arguments(&server, true), &Terminal::default()).expect("200");
        assert!(report.text.starts_with("set p:"), "{}", report.text);
    }

    #[test]
    fn products_are_listed() {
        let server = Replay::start(vec![Turn::json(200, &format!("{{\"products\":[{VIEW}]}}"))]);
        let list = ProductCommand::List(ListArguments { connection: server.options() });
        let report = run(&list, &Terminal::default()).expect("200");
        let expected = "PRODUCT  HARDWARE  LARGEST IMAGE  CREATED\np        rev-a     2.0 KiB        2026-01-02 \
                        03:04:05Z";
        assert_eq!(report.text, expected);
    }
}
