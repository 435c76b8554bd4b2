# SPDX-License-Identifier: GPL-2.0
"""pseries: DMA through TCE tables that the hypervisor keeps, 4K pages, no dma-iommu"""
from ..qemu_config import QemuArchParams

QEMU_ARCH = QemuArchParams(
	linux_arch='powerpc',
	kconfig='''
CONFIG_PPC64=y
CONFIG_CPU_LITTLE_ENDIAN=y
CONFIG_PPC_PSERIES=y
CONFIG_HVC_CONSOLE=y''',
	qemu_arch='ppc64',
	kernel_path='vmlinux',
	# disable_ddw: no second window that maps all memory, past the TCE tables
	kernel_command_line='console=hvc0 phyr.verdict=hvc1 disable_ddw',
	extra_qemu_params=[
		# Huge pages; and what TCG cannot give, QEMU would warn about
		'-M', 'pseries,cap-hpt-max-page-size=16M,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off',
		'-cpu', 'power9', '-smp', '1,maxcpus=2'])

VIRTIO = 'iommu_platform=on,disable-legacy=on'
IOMMU = 'iommu-phb'
# The groups of sPAPR have a domain of a type that sysfs has no name for
DOMAIN = 'unknown'
