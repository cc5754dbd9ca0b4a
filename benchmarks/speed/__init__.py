"""Speed: what a command costs, beside a bare socket and the other clients, in one run."""
