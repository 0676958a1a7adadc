//! Owns the texts a node answers a failed statement with; never decides when one is due.

use thiserror::Error;

/// Why a statement failed, with the text the real node gives for it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Failure {
    #[error("Error parsing query")]
    Parsing,
    #[error("Datamart must be specified for all tables and views")]
    NoDatamartForTables,
    #[error(
        "Datamart must be not empty!\nFor setting datamart you can use the following command: \"USE datamartName\""
    )]
    NoDatamart,
    #[error("Unexpected error: IllegalArgumentException : Path must not end with / character")]
    EmptyPath,
    #[error("Database {0} already exists")]
    DatamartExists(String),
    #[error("Database {0} does not exist")]
    NoSuchDatamart(String),
    #[error("Entity {0}.{1} already exists")]
    EntityExists(String, String),
    #[error("Entity {0}.{1} does not exist")]
    NoSuchEntity(String, String),
    #[error("Entity name [{0}.{1}] is not valid, allowed pattern is [a-zA-Z][a-zA-Z0-9_]*")]
    EntityName(String, String),
    #[error("Access to system logical tables is forbidden")]
    SystemTable,
    #[error("Change operations are forbidden")]
    ChangesForbidden,
    #[error("Previous change operation is not completed in datamart [{0}]")]
    ChangeUnfinished(String),
    #[error("Views [{views}] using the '{table}' must be dropped first")]
    ViewsOnTable { views: String, table: String },
    #[error("Primary keys and Sharding keys are required. The following keys do not exist: {0}")]
    KeysMissing(String),
    #[error("DISTRIBUTED BY clause must be a subset of the PRIMARY KEY")]
    ShardingNotInKey,
    #[error(
        "Unexpected error: IllegalArgumentException : No plugin found for delimiter {wanted}! Registered plugins: [{registered}]."
    )]
    NoPlugin { wanted: String, registered: String },
    #[error(
        "\"{0}\" isn't a valid datasource type, please use one of the following: ADB, ADG, ADQM, ADP"
    )]
    BadDatasource(String),
    #[error("Queried entity is missing for the specified DATASOURCE_TYPE {0}")]
    NotInDatasource(String),
    #[error("No single datasource contains all queried entities")]
    NoCommonDatasource,
    #[error("Specifying the size for columns{0} with types[CHAR/VARCHAR] is required")]
    SizeRequired(String),
    #[error("Unknown type for column: {0}")]
    UnknownType(String),
    #[error("Entity {0} already has column {1}")]
    DuplicateColumn(String, String),
    #[error("Tables or views not found in query")]
    NoTables,
    #[error("Request parsing error: Column '{0}' not found in any table")]
    NoSuchColumn(String),
    #[error("Request parsing error: {0}")]
    Unsupported(String),
    #[error("Invalid delta range [{0}, {1}]")]
    DeltaRange(i64, i64),
    #[error("Invalid delta range for materialized view: [mat_view delta: null, delta_to: {0}]")]
    MatviewRange(i64),
    #[error("Time [{0}] is not in format: [yyyy-MM-dd HH:mm:ss]")]
    BadTime(String),
    #[error("The delta {0} is not committed.")]
    DeltaOpen(i64),
    #[error("The delta {0} is not committed.: KeeperErrorCode = NodeExists")]
    DeltaBlocked(i64),
    #[error("Delta is forbidden to start: KeeperErrorCode = NodeExists")]
    DeltaForbidden,
    #[error("The delta number {0} is not next to an actual delta")]
    DeltaNotNext(i64),
    #[error("Delta is already commited")]
    DeltaCommitted,
    #[error("Unable to set the date-time {wanted} preceding or equal the actual delta {actual}")]
    DeltaDate { wanted: String, actual: String },
    #[error("Incorrect format of delta date value: {0}, correct template: yyyy-MM-dd HH:mm:ss")]
    DeltaDateFormat(String),
    #[error("not finished write operation exist: KeeperErrorCode = Directory not empty")]
    WritesUnfinished,
    // The text of a real node is not recorded.
    #[error("The delta {0} is being rolled back")]
    DeltaRollingBack(i64),
    #[error("Can't rollback delta by datamart [{0}]")]
    Rollback(String),
    #[error(
        "Can't write new delta hot on datamart[{0}], deltaHotNumber[{1}]: KeeperErrorCode = NoNode for /test/{0}/delta"
    )]
    BeginNoDatamart(String, String),
    #[error(
        "Can't write delta hot \"success\" by datamart[{0}], deltaDate[{1}]: KeeperErrorCode = NoNode for /test/{0}/delta"
    )]
    CommitNoDatamart(String, String),
    #[error("Delta not found: KeeperErrorCode = NoNode for /test/{0}/delta")]
    DeltaNoDatamart(String),
    #[error("Delta not exist")]
    DeltaNotExist,
    #[error("Delta not found")]
    DeltaNotFound,
    #[error("Delta {0} is empty")]
    DeltaEmpty(i64),
    #[error("Negative delta number is unexpected")]
    DeltaNegative,
    #[error("Delta closed")]
    DeltaClosed,
    #[error("Table[{0}] blocked: KeeperErrorCode = NodeExists")]
    TableBlocked(String),
    #[error("Active operation does not exist")]
    NoActiveOperation,
    #[error("Not found active change operation with change_num = {0}")]
    NoSuchChange(i64),
    #[error("Changes are blocked by another process within {0}")]
    ChangesBlocked(String),
    #[error("Changes are not blocked now within {0}")]
    ChangesNotBlocked(String),
    #[error("Wrong code")]
    WrongCode,
    #[error("Error executing mppr into table [{table}] for dml query [{query}]: {cause}")]
    Unload { table: String, query: String, cause: String },
    #[error("Unsupported operation for tables in different datamarts: [{0}] and [{1}]")]
    TwoDatamarts(String, String),
    #[error(
        "Mppw load failed: \n Plugin: {plugin}, status: {status}, offset: -1, stopReason: ru.datamart.prostore.common.exception.DtmException: Stopping MPPW for datasource {plugin}. Reason: {status}. Request id: {request}"
    )]
    Load { plugin: String, status: String, request: String },
    #[error("Columns {0} do not exist")]
    NoSuchColumns(String),
    #[error("Consistency breach detected for {table}:\nADP : {adp}\nADQM : {adqm}")]
    Breach { table: String, adp: i128, adqm: i128 },
    #[error("Clickhouse's global join is restricted")]
    AdqmJoin,
    #[error("Unexpected error: RuntimeException : EXISTS cannot be converted")]
    AdqmExists,
    #[error("Feature is not implemented [{0}]")]
    NotImplemented(String),
    #[error("Unexpected error: DecodeException : Failed to decode:{0}")]
    BodyDecode(String),
    #[error(
        "Unexpected error: NullPointerException : Cannot invoke \"io.vertx.core.json.JsonObject.mapTo(java.lang.Class)\" because the return value of \"io.vertx.ext.web.RoutingContext.getBodyAsJson()\" is null"
    )]
    BodyEmpty,
    #[error(
        "Unexpected error: IllegalArgumentException : Unrecognized field \"{0}\" (class ru.datamart.prostore.common.reader.InputQueryRequest), not marked as ignorable (4 known properties: \"requestId\", \"sql\", \"datamartMnemonic\", \"parameters\"])\n at [Source: UNKNOWN; line: -1, column: -1] (through reference chain: ru.datamart.prostore.common.reader.InputQueryRequest[\"{0}\"])"
    )]
    BodyField(String),
    #[error(
        "Unexpected error: IllegalArgumentException : Cannot deserialize value of type `{kind}` from {given}\n at [Source: UNKNOWN; line: -1, column: -1] (through reference chain: ru.datamart.prostore.common.reader.InputQueryRequest[\"{field}\"])"
    )]
    BodyValue { kind: String, given: String, field: String },
    #[error("invalid input syntax for type {kind}: \"{value}\"")]
    BadValue { kind: String, value: String },
    #[error("null value in column \"{0}\" violates not-null constraint")]
    NullValue(String),
    #[error("The number of values ({0}) differs from the number of columns ({1})")]
    ValueCount(usize, usize),
    #[error("Unexpected error: SandboxStoreException : {0}")]
    Store(String),
    #[error("Unexpected error: SandboxKafkaException : {0}")]
    Kafka(String),
    #[error("Error: injected fault {0}")]
    Injected(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Store(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Failure::Store(error.to_string())
    }
}
