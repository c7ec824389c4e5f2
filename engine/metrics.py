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
KUBERNETES_WRITES = Counter(
    "machine_engine_kubernetes_writes", "Writes to Kubernetes.", ["verb", "resource"], registry=REGISTRY
)
LEADER = Gauge("machine_engine_leader", "Whether this replica leads (1) or stands by (0).", registry=REGISTRY)
HEALTHY = Gauge("machine_engine_healthy", "Whether /healthz answers well (1) or not (0).", registry=REGISTRY)
