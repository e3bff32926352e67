"""What scores amount to: metrics, significance, fusion, reports."""
