// For `require`, which gives the module itself.
module.exports = require("./cluster.js").default;
