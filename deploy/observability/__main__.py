"""Write the dashboards anew: `python -m deploy.observability`."""

from deploy.observability.building import write
from deploy.observability.catalogue import DASHBOARDS

write(DASHBOARDS)
