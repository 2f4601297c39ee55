"""Pure: where admitted requests wait, bounded and earliest deadline first."""
