"""From public files to a prepared folder."""
