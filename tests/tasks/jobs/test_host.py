"""The app implements the interface that jobs use."""

from lib.tasks.app import TopoLabelApp
from lib.tasks.jobs.host import JobHost


def test_the_app_has_all_attributes_that_jobs_use(app: TopoLabelApp) -> None:
    names = {name for name in (*JobHost.__annotations__, *vars(JobHost)) if not name.startswith("_")}
    assert names and all(hasattr(app, name) for name in names)
