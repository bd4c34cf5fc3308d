"""Name resolution and dialling, limited to the hosts, ports and addresses that the egress policy allows."""
