"""The passages stage, after dedup: lines and passages that stand in other documents or in evaluation sets."""
