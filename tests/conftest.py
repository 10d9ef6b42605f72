"""What holds for every test: no property is judged by the clock, however busy the machine is."""

from hypothesis import HealthCheck, settings

settings.register_profile("watchkey", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("watchkey")
