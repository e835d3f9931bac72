//! The sink's moods.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::prelude::*;
use rand::rngs::StdRng;
use tokio::time::sleep;

use crate::crash::World;
use crate::support::sink::Act;

/// Lines get older than this now and then: while the sink is down, or the shipper is.
const WINDOW: Duration = Duration::from_secs(2);

/// The sink in turn does everything that a Loki and the way to it can do.
pub(super) async fn weather(world: Arc<World>, mut random: StdRng) {
    let refuse = |status| Some(Act::Refuse(status, &[], ""));
    loop {
        let mut moods = [
            Some(Act::Store),
            Some(Act::StoreYounger(WINDOW)),
            refuse("429 Too Many Requests"),
            Some(Act::Store),
            Some(Act::StoreLate(Duration::from_millis(random.random_range(50..500)))),
            refuse("500 Internal Server Error"),
            Some(Act::Reset),
            Some(Act::StoreYounger(WINDOW)),
            refuse("503 Service Unavailable"),
            Some(Act::Hang),
            None,
        ];
        moods.shuffle(&mut random);
        for mood in moods {
            {
                let _held = world.weather.lock().await;
                if !world.protected.load(Ordering::SeqCst) {
                    match mood {
                        Some(mood) => {
                            world.sink.up();
                            world.sink.mood(mood);
                        }
                        None => world.sink.down().await,
                    }
                }
            }
            sleep(Duration::from_millis(random.random_range(100..700))).await;
        }
    }
}
