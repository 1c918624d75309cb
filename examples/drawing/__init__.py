"""The five style pictures, one module each, and what they share: `canvas` (noise, light, paper) and `brush` (oil)."""
