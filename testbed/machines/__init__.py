"""What stands between the host and the guests: sandbox, broker, network, hypervisor, guest, console."""
