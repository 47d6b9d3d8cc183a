"""The metrics, as they describe themselves."""

from prometheus_client.metrics import MetricWrapperBase

from notifications import metrics

from .rst import code, escape, item


def found() -> dict[str, MetricWrapperBase]:
    """The metrics by the names under which Prometheus shows them."""
    made = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    return {_name(metric): metric for metric in made}


def write() -> str:
    return "".join(_write(name, metric) for name, metric in found().items())


def _name(metric: MetricWrapperBase) -> str:
    (family,) = metric.describe()
    return f"{family.name}_total" if family.type == "counter" else family.name


def _write(name: str, metric: MetricWrapperBase) -> str:
    (family,) = metric.describe()
    labels = [code(label) for label in metric._labelnames]
    by = f" Label: {', '.join(labels)}." if labels else ""
    text = family.documentation.rstrip(".")
    mark = "" if text.endswith("?") else "."
    return item("metric", name, f"{family.type.capitalize()}. {escape(text)}{mark}{by}")
