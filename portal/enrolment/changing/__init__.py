"""What owners and shops change about affiliates: values, addresses, links sent again, decisions about many."""
