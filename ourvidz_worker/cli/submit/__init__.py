"""`submit`: one job or a whole storyboard, queued the way the product's users do it."""
