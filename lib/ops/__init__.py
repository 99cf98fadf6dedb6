"""Compute: functions and leaf layers that know tensors and no anatomy."""
