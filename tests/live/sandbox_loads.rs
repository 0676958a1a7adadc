//! What of a load only real brokers can show of the sandbox: a node's connector counts offsets, and
//! stops at the gap that a transaction leaves (PROSTORE.md 6).

use std::time::Duration;

use deltakeep::testing::{TestRow, staging_body};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::rig::Rig;
use crate::support::{create_topic, delete_topic, kafka, unique};

const TIME: Duration = Duration::from_secs(30);

/// A topic with one row, sent in a transaction or not.
fn topic(transactional: bool) -> String {
    let name = unique("marker");
    create_topic(&kafka(), &name, &[]);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka());
    if transactional {
        config.set("transactional.id", &name);
    }
    let producer: BaseProducer = config.create().expect("a producer");
    if transactional {
        producer.init_transactions(TIME).expect("transactions");
        producer.begin_transaction().expect("a transaction");
    }
    let body = staging_body(&[TestRow { id: 9000, v: Some("new".into()), sys_op: 0 }]);
    let record = BaseRecord::<(), [u8]>::to(&name).payload(&body);
    producer.send(record).map_err(|(error, _)| error).expect("sent");
    producer.flush(TIME).expect("flushed");
    if transactional {
        producer.commit_transaction(TIME).expect("committed");
    }
    name
}

#[test]
fn a_topic_written_in_transactions_is_not_loaded() {
    let rig = Rig::new("markers");
    let count = "SELECT count(*) AS c FROM a FOR SYSTEM_TIME AS OF LATEST_UNCOMMITTED_DELTA \
                 WHERE id = 9000";
    for transactional in [true, false] {
        let topic = topic(transactional);
        let location = format!("LOCATION 'kafka://$kafka/{topic}' FORMAT 'AVRO'");
        rig.node.sql("d", "BEGIN DELTA");
        let create = "CREATE UPLOAD EXTERNAL TABLE u (id bigint, v varchar)";
        rig.node.sql("d", &format!("{create} {location}"));
        let loaded = rig.node.try_sql("d", "INSERT INTO a SELECT * FROM u");
        match transactional {
            true => assert!(loaded.expect_err("a gap").contains("CHANGE_OFFSET_TIMEOUT")),
            false => assert!(loaded.is_ok(), "{loaded:?}"),
        }
        assert_eq!(rig.node.sql("d", count)[0]["c"], u64::from(!transactional));
        rig.node.script("d", "DROP UPLOAD EXTERNAL TABLE u\nROLLBACK DELTA");
        delete_topic(&kafka(), &topic);
    }
}
