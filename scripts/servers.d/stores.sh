# What scripts/servers needs for the servers that are no Java: ClickHouse, S3, RabbitMQ. Sourced by
# it; starts nothing by itself.
#
#   clickhouse  the engine of the Python wheel chdb-core, over HTTP. It is the engine of ClickHouse
#               itself, without HTTPS; its system logs end with the process
#   s3          versitygw, built once by go; one bucket, my-bucket
#   rabbitmq    Debian's, with management and AMQPS

chdb_version=26.9.0
versitygw_version=v1.8.0
chdb=$home/chdb-core-$chdb_version
versitygw=$home/bin/versitygw-$versitygw_version
s3_access_key=TESTACCESSKEY
# Letters that URLs write in another way.
s3_secret_key=s3+caNary/7x=Q

fetch_store() {
    case $1 in
        clickhouse) fetch_chdb ;;
        s3) build_versitygw ;;
        rabbitmq) "$root/scripts/install" rabbitmq ;;
    esac
}

# Everything of ClickHouse is in this wheel; what it depends on serves data frames only.
fetch_chdb() {
    [ ! -d "$chdb" ] || return 0
    echo "fetching ClickHouse" >&2
    rm -rf "$chdb.part" "$home/pip"
    python3 -m venv "$home/pip"
    "$home/pip/bin/pip" install --quiet --no-deps --no-cache-dir --only-binary :all: \
        --target "$chdb.part" "chdb-core==$chdb_version" >&2 || die "cannot fetch chdb-core"
    rm -rf "$home/pip"
    mv "$chdb.part" "$chdb"
}

build_versitygw() {
    [ ! -x "$versitygw" ] || return 0
    command -v go >/dev/null || die "the S3 server is built by go, which is missing: https://go.dev/dl"
    echo "building versitygw" >&2
    mkdir -p "$home/go" "$home/bin"
    GOPATH=$home/go GOCACHE=$home/go/cache GOBIN=$home/go/bin GOFLAGS=-modcacherw \
        nice -n 19 go install -ldflags "-s -w" \
        "github.com/versity/versitygw/cmd/versitygw@$versitygw_version" >&2 || die "go could not build versitygw"
    mv "$home/go/bin/versitygw" "$versitygw"
    rm -rf "$home/go"
}

# The wheel's own session is the user `default`; clients are `backup`, and `reader`, who may not
# back anything up. The named collection `kept` has keys of the S3 server. The cluster `alone` is this
# server (whose native port nobody listens on), `halved` has a host that never answers; neither takes
# statements: the engine starts nothing that would carry them out.
clickhouse_settings() {
    local common="<networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>"
    cat >"$home/clickhouse/users.xml" <<X
<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users>
  <default><password></password>$common</default>
  <backup><password>clickhouse-caNary-password</password>$common
    <named_collection_control>1</named_collection_control></backup>
  <reader><password>reader</password>$common<grants><query>GRANT SELECT ON *.*</query></grants></reader>
</users></clickhouse>
X
    cat <<X
<clickhouse>
  <http_port>$(port_of clickhouse)</http_port><listen_host>127.0.0.1</listen_host>
  <users_config>$home/clickhouse/users.xml</users_config>
  <named_collections><kept>
    <url>http://127.0.0.1:$(port_of s3)/my-bucket/kept/</url>
    <access_key_id>$s3_access_key</access_key_id><secret_access_key>$s3_secret_key</secret_access_key>
  </kept></named_collections>
  <remote_servers>
    <alone><shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard></alone>
    <halved><shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>
      <shard><replica><host>127.0.0.1</host><port>1</port></replica></shard></halved>
  </remote_servers>
  <mark_cache_size>67108864</mark_cache_size>
  <query_log><database>system</database><table>query_log</table>
    <flush_interval_milliseconds>500</flush_interval_milliseconds></query_log>
  <backup_log><database>system</database><table>backup_log</table>
    <flush_interval_milliseconds>500</flush_interval_milliseconds></backup_log>
</clickhouse>
X
}

rabbitmq_settings() {
    [ -d "$certificates" ] || make_certificates
    cat <<X
listeners.tcp.1 = 127.0.0.1:$(port_of rabbitmq)
listeners.ssl.1 = 127.0.0.1:$(port_beside rabbitmq 4)
ssl_options.cacertfile = $certificates/ca.pem
ssl_options.certfile = $certificates/server.pem
ssl_options.keyfile = $certificates/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
management.tcp.ip = 127.0.0.1
management.tcp.port = $(port_beside rabbitmq 1)
log.console = false
disk_free_limit.absolute = 50MB
collect_statistics_interval = 1000
X
}

launch_store() {
    case $1 in
        clickhouse)
            mkdir -p "$home/clickhouse/data"
            (PYTHONPATH=$chdb exec setsid python3 "$root/scripts/servers.d/clickhouse/serve.py" \
                "$home/clickhouse/config") >>"$home/clickhouse/log" 2>&1 </dev/null 9>&- &
            echo $! >"$home/clickhouse/pid"
            ;;
        s3)
            mkdir -p "$home/s3/data" "$home/s3/attributes"
            (ROOT_ACCESS_KEY=$s3_access_key ROOT_SECRET_KEY=$s3_secret_key exec setsid "$versitygw" \
                --port "127.0.0.1:$(port_of s3)" --quiet --health /health \
                posix --sidecar "$home/s3/attributes" "$home/s3/data") \
                >>"$home/s3/log" 2>&1 </dev/null 9>&- &
            echo $! >"$home/s3/pid"
            ;;
        rabbitmq) launch_rabbitmq ;;
    esac
}

# Runs the server itself: the command on the path would change to a user and folders of its own.
# It writes its own pid file.
launch_rabbitmq() {
    local at=$home/rabbitmq
    mkdir -p "$at/mnesia" "$at/logs"
    if [ ! -f "$at/.erlang.cookie" ]; then
        head -c 24 /dev/urandom | base64 | tr -dc A-Za-z0-9 >"$at/.erlang.cookie"
        chmod 400 "$at/.erlang.cookie"
    fi
    echo '[rabbitmq_management].' >"$at/plugins"
    cp "$at/config" "$at/rabbitmq.conf"
    (rabbitmq_environment; exec setsid /usr/lib/rabbitmq/bin/rabbitmq-server) \
        >>"$at/log" 2>&1 </dev/null 9>&- &
}

# The last argument means nothing to the server: pid_of knows it by that.
rabbitmq_environment() {
    local at=$home/rabbitmq loopback="-kernel inet_dist_use_interface {127,0,0,1}"
    export HOME=$at RABBITMQ_NODENAME=deltakeep$(port_of rabbitmq)@localhost
    export RABBITMQ_MNESIA_BASE=$at/mnesia RABBITMQ_LOG_BASE=$at/logs RABBITMQ_PID_FILE=$at/pid
    export RABBITMQ_CONFIG_FILE=$at/rabbitmq.conf RABBITMQ_CONF_ENV_FILE=$at/none
    export RABBITMQ_ENABLED_PLUGINS_FILE=$at/plugins RABBITMQ_DIST_PORT=$(port_beside rabbitmq 2)
    export ERL_CRASH_DUMP=$at/crash.dump ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$(port_beside rabbitmq 3)
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="$loopback +S 2:2 -deltakeep $at/config"
}

store_answers() {
    local port
    port=$(port_of "$1")
    case $1 in
        clickhouse) curl -sf -m 2 "http://127.0.0.1:$port/ping" >/dev/null ;;
        s3) curl -sf -m 2 "http://127.0.0.1:$port/health" >/dev/null && make_bucket ;;
        # A header of an unknown version is answered with the one that is known.
        rabbitmq)
            [ "$( (exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'AMQP\0\0\0\0' >&3 &&
                timeout 2 head -c 4 <&3) 2>/dev/null)" = AMQP ]
            ;;
    esac
}

# By curl's options on stdin, so that the key is in nobody's list of processes.
make_bucket() {
    local code
    code=$(curl -s -m 5 -o "$home/s3/bucket.log" -w '%{http_code}' -K - <<X
url = "http://127.0.0.1:$(port_of s3)/my-bucket"
request = PUT
header = "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
aws-sigv4 = "aws:amz:us-east-1:s3"
user = "$s3_access_key:$s3_secret_key"
X
    )
    [ "$code" = 200 ] || [ "$code" = 409 ]
}

# RabbitMQ leaves a daemon of its own behind that knows names of nodes. It does not end while a node
# is connected, and a node's connections end a little after its process seems gone.
after_store() {
    local tries=30
    [ "$1" = rabbitmq ] || return 0
    while [ $tries -gt 0 ] && port_answers "$(port_beside rabbitmq 3)"; do
        (rabbitmq_environment; epmd -kill) >/dev/null 2>&1 || true
        sleep 0.1
        tries=$((tries - 1))
    done
}

store_variables() {
    local at=127.0.0.1
    cat <<X
DELTAKEEP_TEST_CLICKHOUSE=$at:$(port_of clickhouse)
DELTAKEEP_TEST_CLICKHOUSE_USER=backup
DELTAKEEP_TEST_CLICKHOUSE_PASSWORD=clickhouse-caNary-password
DELTAKEEP_TEST_S3=$at:$(port_of s3)
DELTAKEEP_TEST_S3_ACCESS_KEY=$s3_access_key
DELTAKEEP_TEST_S3_SECRET_KEY=$s3_secret_key
DELTAKEEP_TEST_AMQP=$at:$(port_of rabbitmq)
DELTAKEEP_TEST_AMQPS=$at:$(port_beside rabbitmq 4)
DELTAKEEP_TEST_AMQP_MANAGEMENT=$at:$(port_beside rabbitmq 1)
X
}
