# SPDX-License-Identifier: GPL-2.0
"""q35 without an IOMMU, every DMA through a bounce buffer"""
from ..qemu_config import QemuArchParams

QEMU_ARCH = QemuArchParams(
	linux_arch='x86_64',
	kconfig='''
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y''',
	qemu_arch='x86_64',
	kernel_path='arch/x86/boot/bzImage',
	kernel_command_line='console=ttyS0 no_timer_check iommu=off swiotlb=force',
	extra_qemu_params=[
		'-M', 'q35,kernel-irqchip=split', '-smp', '1,maxcpus=2',
		# Peer-to-peer DMA through this host bridge passes with AMD's models only
		'-cpu', 'EPYC'])

VIRTIO = 'iommu_platform=on,disable-legacy=on'
IOMMU = ''
DOMAIN = ''
