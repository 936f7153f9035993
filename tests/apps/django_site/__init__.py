"""A Django site with the admin, accounts in a database, uploads, streams and files; both interfaces."""
