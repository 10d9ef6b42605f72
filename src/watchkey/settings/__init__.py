"""The configuration: one file, read once, every error with its place; after that only typed, frozen values."""

from watchkey.rules.located import ConfigError
from watchkey.settings.against import check_against
from watchkey.settings.load import SourceConfigs, find, load_groups, load_settings, parse_settings
from watchkey.settings.sections import Surroundings
from watchkey.settings.values import (
    CallerSettings,
    FleetSettings,
    HttpSettings,
    PolicySettings,
    RemoteOpa,
    Settings,
    SourceSettings,
    StorageSettings,
    VerificationSettings,
)

__all__ = [
    "CallerSettings",
    "ConfigError",
    "FleetSettings",
    "HttpSettings",
    "PolicySettings",
    "RemoteOpa",
    "Settings",
    "SourceConfigs",
    "SourceSettings",
    "StorageSettings",
    "Surroundings",
    "VerificationSettings",
    "check_against",
    "find",
    "load_groups",
    "load_settings",
    "parse_settings",
]
