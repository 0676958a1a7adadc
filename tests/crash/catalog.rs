//! What earlier runs knew of the topic: it spares reading, and a topic that is another one now is
//! read anew, however alike it looks.

use std::sync::{Arc, Mutex};

use deltakeep::catalog::CatalogCache;
use deltakeep::catalog::known::Known;
use deltakeep::deliver::Message;
use deltakeep::testing::Stored;

use super::judge;
use super::scenario::Scenario;

/// A cache that outlives the runs.
#[derive(Clone, Default)]
pub struct MemoryCache(Arc<Mutex<Option<Known>>>);

impl MemoryCache {
    pub fn lose(&self) {
        *self.0.lock().unwrap() = None;
    }
}

impl CatalogCache for MemoryCache {
    fn load(&self) -> Option<Known> {
        self.0.lock().unwrap().clone()
    }

    fn store(&self, known: &Known) -> std::io::Result<()> {
        *self.0.lock().unwrap() = Some(known.clone());
        Ok(())
    }
}

/// Puts messages of nobody in the place of some.
fn replace(scenario: &Scenario, is_meant: impl Fn(usize, usize) -> bool) {
    for partition in &mut scenario.memory.lock().topic {
        let many = partition.len();
        for (at, stored) in partition.iter_mut().enumerate() {
            if let Stored::Visible(message) = stored
                && is_meant(at, many)
            {
                *stored = Stored::Visible(Message { key: b"nobody's".into(), ..message.clone() });
            }
        }
    }
}

/// Messages read by one more run that finds nothing new.
async fn read_by_nothing_new(scenario: &mut Scenario) -> usize {
    let before = scenario.memory.lock().shown;
    let summary = scenario.finish().await;
    assert_eq!(summary.run, None);
    scenario.memory.lock().shown - before
}

#[tokio::test(start_paused = true)]
async fn what_was_read_once_is_not_read_again() {
    let mut scenario = Scenario::large();
    scenario.finish().await;
    let all = read_by_nothing_new(&mut scenario).await;
    let again = read_by_nothing_new(&mut scenario).await;
    let partitions = scenario.memory.lock().topic.len();
    assert!(all > 40 && again <= partitions, "{all}, then {again} in {partitions} partitions");
    scenario.cache.lose();
    assert_eq!(read_by_nothing_new(&mut scenario).await, all);
}

#[tokio::test(start_paused = true)]
async fn a_topic_created_anew_with_as_many_messages_is_read_anew() {
    for seed in 1..20 {
        let mut scenario = Scenario::new(seed);
        scenario.finish().await;
        scenario.finish().await;
        replace(&scenario, |_, _| true);
        let summary = scenario.finish().await;
        assert_eq!(summary.deltas.len(), scenario.memory.lock().deltas.len(), "seed {seed}");
        let foreign =
            |stored: &Stored| matches!(stored, Stored::Visible(m) if m.key == b"nobody's");
        scenario.memory.lock().topic.iter_mut().for_each(|p| p.retain(|s| !foreign(s)));
        judge::check(&scenario.memory, &summary, seed);
    }
}

#[tokio::test(start_paused = true)]
async fn one_other_message_at_the_place_of_the_last_is_enough() {
    let mut scenario = Scenario::large();
    scenario.finish().await;
    scenario.finish().await;
    let partitions = scenario.memory.lock().topic.len();
    let lasts: Vec<_> = scenario.memory.lock().topic.iter().map(|p| last_visible(p)).collect();
    assert!(lasts.iter().any(Option::is_some), "{partitions}");
    replace(&scenario, |at, _| lasts.contains(&Some(at)));
    let summary = scenario.finish().await;
    assert!(!summary.deltas.is_empty(), "what the replaced messages completed is exported again");
}

fn last_visible(partition: &[Stored]) -> Option<usize> {
    partition.iter().rposition(|stored| matches!(stored, Stored::Visible(_)))
}
