"""Files written whole or not at all, and tables read strictly."""
