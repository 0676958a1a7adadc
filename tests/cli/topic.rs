//! `topic show` where there is nothing to show; the counting is tested beside it.

use deltakeep::kafka::mock::MockAdmin;

use crate::binary::{run, text};

#[test]
fn a_topic_that_is_not_there_is_refused_and_options_that_are_missing_are_named() {
    let broker = MockAdmin::start().expect("a broker");
    let list = broker.brokers().list();
    let words = ["topic", "show", "--topic", "missing", "--kafkaBrokers", list];
    let missing = run(&words, &[]);
    assert_eq!(missing.status.code(), Some(3), "{}", text(&missing));
    assert!(text(&missing).contains("topic missing does not exist"), "{}", text(&missing));
    let brokers = run(&["topic", "show", "--topic", "t"], &[]);
    assert_eq!(brokers.status.code(), Some(2));
    assert!(text(&brokers).contains("--kafkaBrokers is missing"), "{}", text(&brokers));
}
