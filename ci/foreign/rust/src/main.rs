//! Pushes lines with `tracing-loki`, which sends snappy protobuf.
//!
//!     with-tracing-loki URL < lines, one JSON string each

use std::error::Error;
use std::io::{Read, stdin};

use tokio::task::JoinSet;
use tracing::info;
use tracing_loki::url::Url;
use tracing_subscriber::layer::SubscriberExt;

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("the address of a Loki is missing")?;
    let mut json = String::new();
    stdin().read_to_string(&mut json)?;
    let lines = serde_json::Deserializer::from_str(&json).into_iter::<String>();
    let lines = lines.collect::<Result<Vec<_>, _>>()?;

    let builder = tracing_loki::builder()
        .label("client", "tracing-loki, snappy protobuf")?
        .label("quoted", r#"say "ä", {b="c"}"#)?
        .extra_field("field", "ä \"b\"")?;
    let (layer, controller, task) = builder.build_controller_url(Url::parse(&url)?)?;
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        for line in &lines {
            info!("{line}");
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        tasks.spawn(task);
        controller.shutdown().await;
        tasks.join_all().await;
    });
    Ok(())
}
