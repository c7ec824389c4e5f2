"""Every counter, gauge and histogram, declared in one table; names of the contract keep their spelling."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

CLOUD_REQUESTS = Counter(
    "mcm_cloud_api_requests", "Calls to the cloud's API.", ["provider", "service"], registry=REGISTRY
)
CLOUD_REQUESTS_FAILED = Counter(
    "mcm_cloud_api_requests_failed", "Calls to the cloud's API that failed.", ["provider", "service"], registry=REGISTRY
)
CLOUD_REQUEST_SECONDS = Histogram(
    "mcm_cloud_api_api_request_duration_seconds",
    "How long calls to the cloud's API took.",
    ["provider", "service"],
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge("machine_engine_queue_depth", "Machines that wait for a worker.", registry=REGISTRY)
RUNS = Counter("machine_engine_runs", "Runs of machines, by how they ended.", ["result"], registry=REGISTRY)
CLAIMS_REAPED = Counter("machine_engine_claims_reaped", "Expired claims that were taken back.", registry=REGISTRY)
JOB_FAULTS = Counter("machine_engine_job_faults", "Turns of jobs that raised.", ["job"], registry=REGISTRY)
INVENTORY_POLLS = Counter(
    "machine_engine_inventory_polls", "Lists of an account, by how they ended.", ["result"], registry=REGISTRY
)
INVENTORY_DEVICES = Gauge(
    "machine_engine_inventory_devices", "Devices on the last complete list.", ["account"], registry=REGISTRY
)
ORPHANS = Gauge(
    "machine_engine_orphans",
    "Devices with a tag of ours that nobody owns, by what is done.",
    ["state"],
    registry=REGISTRY,
)
ORPHAN_COST = Gauge(
    "machine_engine_orphans_cost_per_hour",
    "What the orphans cost an hour, as far as the provider tells prices.",
    registry=REGISTRY,
)
KUBERNETES_WRITES = Counter(
    "machine_engine_kubernetes_writes", "Writes to Kubernetes.", ["verb", "resource"], registry=REGISTRY
)
BREAKER_OPEN = Gauge(
    "machine_engine_breaker_open", "Whether a breaker is open (1) or closed (0).", ["breaker"], registry=REGISTRY
)
BREAKERS_OPENED = Counter(
    "machine_engine_breaker_opened", "How often a breaker opened.", ["breaker"], registry=REGISTRY
)
LEADER = Gauge("machine_engine_leader", "Whether this replica leads (1) or stands by (0).", registry=REGISTRY)
HEALTHY = Gauge("machine_engine_healthy", "Whether /healthz answers well (1) or not (0).", registry=REGISTRY)
