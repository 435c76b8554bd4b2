// SPDX-License-Identifier: GPL-2.0
/* Powers the guest off at once, for tests that stand in for init. */
#include <sys/reboot.h>

int main(void)
{
	return reboot(RB_POWER_OFF);
}
