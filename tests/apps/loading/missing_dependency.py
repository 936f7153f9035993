"""Not found is not this module but one that it needs."""

import a_package_that_nobody_has

app = a_package_that_nobody_has.app
