// SPDX-License-Identifier: GPL-2.0-only
///
/// struct phys_vec { paddr, len } becomes struct phyr { addr, len }.
///
//# Members are renamed only where the type of the expression is known to be
//# struct phys_vec, so any other struct with a member called paddr is left
//# alone.  Variables, parameters, members and functions that are called
//# phys_vec keep their names, and comments and strings are not touched.
///
// Confidence: High
// Options: --no-includes --include-headers
// Requires: 1.1.1
// Keywords: phys_vec, phyr

virtual patch
virtual report

// ---------------------------------------------------------------- patch

// Members first: once the types have changed, no expression has the old type
// any more.  ptr_to_array and fld_to_ptr would turn vec[i].paddr into
// vec->addr.

@depends on patch disable ptr_to_array, fld_to_ptr@
struct phys_vec V;
@@
  V.
- paddr
+ addr

@depends on patch disable ptr_to_array, fld_to_ptr@
struct phys_vec *P;
@@
  P->
- paddr
+ addr

@depends on patch@
identifier I;
expression E;
@@
  struct phys_vec I = {
	...,
- .paddr = E,
+ .addr = E,
	...,
  };

@depends on patch@
expression E;
@@
  (struct phys_vec) {
	...,
- .paddr = E,
+ .addr = E,
	...,
  }

@depends on patch@
@@
  struct
- phys_vec
+ phyr
  {
	phys_addr_t
-	paddr
+	addr
	;
	size_t len;
  };

// Every other use of the type.

@depends on patch@
@@
- struct phys_vec
+ struct phyr

// --------------------------------------------------------------- report

@old depends on report@
position P;
@@
  struct phys_vec@P

@script:python depends on old@
p << old.P;
@@
coccilib.report.print_report(p[0], "struct phys_vec is now struct phyr")
