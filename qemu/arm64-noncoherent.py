# SPDX-License-Identifier: GPL-2.0
"""arm64 virt with SMMUv3, and PCIe devices that do not snoop the CPU's caches"""
from ..qemu_config import QemuArchParams

QEMU_ARCH = QemuArchParams(
	linux_arch='arm64',
	kconfig='''
CONFIG_SERIAL_AMBA_PL011=y
CONFIG_SERIAL_AMBA_PL011_CONSOLE=y''',
	qemu_arch='aarch64',
	kernel_path='arch/arm64/boot/Image',
	kernel_command_line='console=ttyAMA0 phyr.verdict=ttyS0',
	extra_qemu_params=[
		'-M', 'virt,gic-version=3,iommu=smmuv3', '-smp', '1,maxcpus=2',
		'-cpu', 'cortex-a57'])

VIRTIO = 'iommu_platform=on,disable-legacy=on'
IOMMU = 'smmu3'
DOMAIN = 'DMA-FQ'
# virt has one serial port only, the console's
VERDICT = 'pci-serial'
# QEMU's do; the kernel takes what the device tree says of them
NONCOHERENT = '/pcie@10000000'
