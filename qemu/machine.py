#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Prints a machine file's fields as shell assignments, for qemu/run.

A machine file is what kunit.py takes with --qemu_config: a QEMU_ARCH of type
QemuArchParams. Five more names, which kunit.py does not look at, say what the
disks behind an IOMMU need, what the guest must find, and how it answers:
  VIRTIO  options of every virtio device
  IOMMU   prefix of the IOMMU's name in /sys/class/iommu, '' for none
  DOMAIN  the type of every disk's IOMMU domain, '' for none
  VERDICT the device with the verdict's serial port, '' where the second is for it
  NONCOHERENT  the bus that the device tree must not call coherent, '' for none
"""
import importlib.util
import os
import shlex
import sys

kunit, path = sys.argv[1:]
sys.path.insert(0, kunit)
# The name kunit.py gives such a module, so that its relative import works.
spec = importlib.util.spec_from_file_location(
	'.' + os.path.join('qemu_configs', os.path.basename(path)), path)
sys.dont_write_bytecode = True
machine = importlib.util.module_from_spec(spec)
spec.loader.exec_module(machine)
arch = machine.QEMU_ARCH
print('M_ARCH=' + shlex.quote(arch.qemu_arch))
print('M_KERNEL=' + shlex.quote(arch.kernel_path))
print('M_CMDLINE=' + shlex.quote(arch.kernel_command_line))
print('M_PARAMS=(' + ' '.join(shlex.quote(p) for p in arch.extra_qemu_params) + ')')
for name in ('VIRTIO', 'IOMMU', 'DOMAIN', 'VERDICT', 'NONCOHERENT'):
	print('M_' + name + '=' + shlex.quote(getattr(machine, name, '')))
