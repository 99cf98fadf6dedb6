"""The app is what jobs need."""

from lib.tasks.app import TopoLabelApp
from lib.tasks.jobs.host import JobHost


def test_the_app_has_all_that_jobs_ask_for(app: TopoLabelApp) -> None:
    asked = {name for name in (*JobHost.__annotations__, *vars(JobHost)) if not name.startswith("_")}
    assert asked and all(hasattr(app, name) for name in asked)
