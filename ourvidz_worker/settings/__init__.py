"""The settings of a process, from the environment alone, validated once with every problem listed."""

from ourvidz_worker.settings.backends import BackendSettings
from ourvidz_worker.settings.qwen import PROBE_PORTS, QWEN_CURE, QwenSettings, RegisteringSettings, qwen_settings
from ourvidz_worker.settings.reading import load_settings, pod_settings, read_settings
from ourvidz_worker.settings.volume import HubSettings, VolumeSettings
from ourvidz_worker.settings.worker import ServerlessSettings, Settings

__all__ = [
    "PROBE_PORTS",
    "QWEN_CURE",
    "BackendSettings",
    "HubSettings",
    "QwenSettings",
    "RegisteringSettings",
    "ServerlessSettings",
    "Settings",
    "VolumeSettings",
    "load_settings",
    "pod_settings",
    "qwen_settings",
    "read_settings",
]
