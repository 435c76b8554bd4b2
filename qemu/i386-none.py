# SPDX-License-Identifier: GPL-2.0
"""32-bit q35 with PAE, without an IOMMU"""
from ..qemu_config import QemuArchParams

QEMU_ARCH = QemuArchParams(
	linux_arch='i386',
	kconfig='''
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y''',
	qemu_arch='i386',
	kernel_path='arch/x86/boot/bzImage',
	kernel_command_line='console=ttyS0 no_timer_check',
	extra_qemu_params=[
		'-M', 'q35', '-smp', '1,maxcpus=2',
		# 32 bits with PAE and NX
		'-cpu', 'EPYC'])

VIRTIO = 'disable-legacy=on'
IOMMU = ''
DOMAIN = ''
