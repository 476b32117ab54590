"""The Celery application of beat: sends by name what is due, and loads no task to do so."""

from worker.broker import application
from worker.schedule import beat_schedule

app = application("skerry-clock")
app.conf.beat_schedule = beat_schedule()
